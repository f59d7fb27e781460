"""Draw an animation from a prompt with an AnimateDiffPipeline of diffusers."""

from domain.steps import TextToAnimation
from tasks import animations, diffusion
from tasks.context import Context, Result


def run(step: TextToAnimation, ctx: Context) -> Result:
    """One animation of `frames` RGB frames of `width` × `height` pixels. Sides that the model cannot make are drawn a
    little larger, and what is too much is cut off all around."""
    model = ctx.model()
    pipe = diffusion.moving(model, step.scheduler)
    animations.check_frames(pipe, model, step.frames)
    size = (step.width, step.height)
    parameters = {
        "prompt": step.prompt,
        "negative_prompt": step.negative_prompt,
        "width": model.fitting(step.width),
        "height": model.fitting(step.height),
        "num_frames": step.frames,
        "num_inference_steps": step.num_inference_steps,
        "guidance_scale": step.guidance_scale,
    }
    seed = step.seed or 0
    ((frames,),) = diffusion.denoise(pipe, model, parameters, [[seed]], ctx)
    made = animations.of([diffusion.cut(frame, size) for frame in frames], step, seed)
    return Result(pictures=[made], used={"scheduler": type(pipe.scheduler).__name__})
