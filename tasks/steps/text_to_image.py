"""Draw pictures from a prompt with a diffusers text-to-image pipeline."""

from domain.steps import TextToImage
from tasks import diffusion
from tasks.context import Context, Picture, Result


def run(step: TextToImage, ctx: Context) -> Result:
    """`num_images_per_prompt` RGB pictures of width × height; picture i comes from seed + i."""
    seed = ctx.seed if step.seed is None else step.seed
    seeds = diffusion.seeds(seed, step.num_images_per_prompt)
    model = ctx.model()
    pipe = diffusion.drawing(model, step.scheduler)
    parameters = {
        "prompt": ctx.fill("prompt", step.prompt, seed),
        "negative_prompt": ctx.fill("negative_prompt", step.negative_prompt, seed),
        "width": step.width,
        "height": step.height,
        "num_inference_steps": step.num_inference_steps,
        "guidance_scale": step.guidance_scale,
        "num_images_per_prompt": step.num_images_per_prompt,
    }
    ctx.resolve(**parameters, scheduler=type(pipe.scheduler).__name__, model=step.model, seed=seed)
    images = diffusion.denoise(pipe, model, parameters, seeds, ctx)
    return Result(pictures=[Picture(image, each) for image, each in zip(images, seeds, strict=True)], seed=seed)
