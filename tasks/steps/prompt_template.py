"""Fill a prompt template."""

from domain.steps import PromptTemplate
from tasks.context import Context, Result


def run(step: PromptTemplate, ctx: Context) -> Result:
    """Text out: the template with inputs, alternatives and draws filled in by the run's seed."""
    ctx.resolve(template=step.template, seed=ctx.seed)
    text = ctx.fill("template", step.template, ctx.seed)
    return Result(text=text, seed=ctx.seed)
