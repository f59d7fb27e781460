"""ShapE of diffusers, as the steps use it: from words or a picture to a surface, and to pictures from all around it.

torch and diffusers are imported when first needed, so that importing a step costs nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import cos, pi, sin
from typing import Any

from PIL import Image

from domain.errors import DomainError
from domain.steps import ImageTo3D, TextTo3D
from tasks.context import Context, Mesh
from tasks.loading import Model

VIEWS = 8
"""Pictures around an object."""
RAYS = 4096
"""Rays that are followed in one call."""
SAMPLES, MORE_SAMPLES = 64, 128
"""Places along a ray that are looked at, and how many more where something is."""
DISTANCE, FIELD_OF_VIEW = 4.0, 0.7
"""Where the camera stands and how far it sees, in the renderer's units and radians, as ShapE was trained with."""


def make(
    model: Model, step: TextTo3D | ImageTo3D, asked: Mapping[str, Any], seed: int, ctx: Context, part: int, parts: int
) -> Mesh:
    """One object; `asked` is what the pipeline takes in beside the step's parameters. `part` of `parts` when a step
    makes several. The seed gives the same noise on every device.

    A pass of the prior, the surface as a whole and a batch of rays count as one each, for they take alike long in a
    model of the usual size. Raises Stopped, and DomainError where there is no surface.
    """
    pipe, batches = model.pipe, -(-VIEWS * step.frame_size**2 // RAYS)
    done = 0

    def tell(more: int = 1) -> None:
        nonlocal done
        done += more
        total = len(pipe.scheduler.timesteps) + 1 + batches
        ctx.progress(part * total + done, parts * total)

    latents = _denoised(model, step, asked, seed, tell)
    renderer = pipe.shap_e_renderer
    found = _surface(renderer, latents.float(), model, step.grid_size, tell)
    tell()
    views = _turned(renderer, model.device, step.frame_size, seed, tell)
    return Mesh(
        vertices=found.verts.float().cpu().numpy(),
        faces=found.faces.cpu().numpy(),
        colors=_colors(found),
        views=views,
        seed=seed,
    )


def _denoised(
    model: Model, step: TextTo3D | ImageTo3D, asked: Mapping[str, Any], seed: int, tell: Callable[[], None]
) -> Any:
    """The latents, 1 × rows × numbers. The pipeline calls nobody back, so its prior is listened to."""
    import torch

    with torch.inference_mode(), _after(model.pipe.prior, lambda _: tell()):
        try:
            return model.pipe(
                **asked,
                num_inference_steps=step.num_inference_steps,
                guidance_scale=step.guidance_scale,
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="latent",
            ).images
        except ValueError as error:
            raise DomainError(f"The model “{model.ref.name}” refuses these parameters: {error}") from error


def _surface(renderer: Any, latents: Any, model: Model, grid_size: int, tell: Callable[[int], None]) -> Any:
    """The decoder's vertices, faces and colors. The renderer keeps what it read from the latents."""
    import torch

    def check(found: Any) -> None:
        if not len(found.faces):
            raise DomainError(
                f"The model “{model.ref.name}” came to no surface: nothing is inside anything. "
                "Another seed, other words or more sampling steps may give one."
            )

    with torch.inference_mode(), ExitStack() as listening:
        listening.enter_context(_after(renderer.mlp, lambda _: tell(0)))  # stops in the middle where nobody wants it
        listening.enter_context(_after(renderer.mesh_decoder, check))
        return renderer.decode_to_mesh(latents, model.device, grid_size=grid_size)


def _colors(found: Any) -> Any:
    import numpy

    channels = [found.vertex_channels[name].float().cpu().numpy() for name in "RGB"]
    return numpy.clip(numpy.stack(channels, axis=1), 0, 1)


def _turned(renderer: Any, device: str, size: int, seed: int, tell: Callable[[], None]) -> list[Image.Image]:
    """Pictures of size × size pixels from all around what the renderer has read, the front first. Rays are sampled
    with torch's own chance: from the seed here, and as it was afterwards."""
    import torch
    from diffusers.pipelines.shap_e.renderer import StratifiedRaySampler

    seen = []
    with torch.inference_mode(), torch.random.fork_rng([device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        for rays in _rays(size).to(device).split(RAYS, dim=1):
            _, where, coarse = renderer.render_rays(rays, StratifiedRaySampler(), SAMPLES)
            colors, _, _ = renderer.render_rays(rays, where, MORE_SAMPLES, prev_model_out=coarse)
            seen.append(colors)
            tell()
    pixels = torch.cat(seen, dim=1).view(VIEWS, size, size, 3).clamp(0, 1).mul(255).round().byte().cpu().numpy()
    return [Image.fromarray(picture) for picture in pixels]


def _rays(size: int) -> Any:
    """Origin and direction for each pixel of each view: 1 × pixels × 2 × 3. The camera goes round the upright axis and
    looks down a little."""
    import torch
    from diffusers.pipelines.shap_e.camera import DifferentiableProjectiveCamera

    angles = [2 * pi * view / VIEWS for view in range(VIEWS)]
    camera: Any = DifferentiableProjectiveCamera  # its shape is of two numbers, whatever its annotation says
    ahead = torch.nn.functional.normalize(torch.tensor([[sin(angle), cos(angle), -0.5] for angle in angles]))
    right = torch.tensor([[cos(angle), -sin(angle), 0.0] for angle in angles])
    return camera(
        origin=-DISTANCE * ahead,
        x=right,
        y=torch.linalg.cross(ahead, right),
        z=ahead,
        width=size,
        height=size,
        x_fov=FIELD_OF_VIEW,
        y_fov=FIELD_OF_VIEW,
        shape=(1, VIEWS),
    ).camera_rays


@contextmanager
def _after(part: Any, act: Callable[[Any], None]) -> Iterator[None]:
    """Meanwhile `act` hears of everything that the part of a model gave. What it raises ends the call."""
    hook = part.register_forward_hook(lambda _part, _taken, given: act(given))
    try:
        yield
    finally:
        hook.remove()
