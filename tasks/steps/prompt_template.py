"""Write a prompt: the template comes in filled."""

from domain.steps import PromptTemplate
from tasks.context import Context, Result


def run(step: PromptTemplate, ctx: Context) -> Result:
    """Text out: the template with inputs, alternatives and draws filled in by the run's seed."""
    ctx.progress(1, 1)
    return Result(text=step.template)
