"""Make a 3D object of each picture that comes in, with a ShapEImg2ImgPipeline of diffusers."""

from domain.steps import ImageTo3D
from tasks import diffusion, shap_e
from tasks.context import Context, Result


def run(step: ImageTo3D, ctx: Context) -> Result:
    """A surface for each picture, in order; seeds count up. The receipt tells how many triangles they have together."""
    pictures = ctx.pictures()
    seeds = diffusion.seeds_of_each(step.seed or 0, len(pictures), 1, "sculpted")
    model = ctx.model()
    made = [
        shap_e.make(model, step, {"image": picture}, seed, ctx, number, len(pictures))
        for number, (picture, (seed,)) in enumerate(zip(pictures, seeds, strict=True))
    ]
    return Result(pictures=made, used={"triangles": sum(len(one.faces) for one in made)})
