"""Make a 3D object from a prompt with a ShapEPipeline of diffusers."""

from domain.steps import TextTo3D
from tasks import shap_e
from tasks.context import Context, Result


def run(step: TextTo3D, ctx: Context) -> Result:
    """One surface with a color at each vertex, and pictures of it. The receipt tells how many triangles it has."""
    made = shap_e.make(ctx.model(), step, {"prompt": step.prompt}, step.seed or 0, ctx, 0, 1)
    return Result(pictures=[made], used={"triangles": len(made.faces)})
