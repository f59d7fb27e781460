"""Small ShapE folders: the real classes of diffusers, random weights, and a renderer that always makes a blob.

Built here rather than shipped. What is drawn means nothing, but the blob differs with prompt, picture and seed.
"""

import shutil
import warnings
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from domain.models import STARTER_PATH

HIDDEN = 6
"""Rows of the renderer's first layer, which the latents bend; one for each half of an axis."""
LATENT = 16
ENCODED = 93
"""Numbers that stand for a place: itself, then sines and cosines of 15 frequencies."""
LINEAR = 10.0
"""Far enough to the right that the activation is a straight line."""


def text_folder(path: Path) -> Path:
    """A ShapEPipeline."""
    from diffusers import ShapEPipeline
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(STARTER_PATH / "tokenizer", model_max_length=24)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=LATENT,
        max_position_embeddings=24,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    prior = _prior()
    ShapEPipeline(
        prior=prior,
        text_encoder=CLIPTextModelWithProjection(config),
        tokenizer=tokenizer,
        scheduler=_scheduler(),
        shap_e_renderer=_renderer(),
    ).save_pretrained(path)
    return path


def emptied(folder: Path, path: Path) -> Path:
    """A copy of the folder whose renderer finds nothing inside."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, path)
    file = path / "shap_e_renderer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["mlp.mlp.1.bias"][0] -= 1000.0
    save_file(tensors, file, {"format": "pt"})
    return path


def image_folder(path: Path) -> Path:
    """A ShapEImg2ImgPipeline."""
    from diffusers import ShapEImg2ImgPipeline
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=LATENT,
        intermediate_size=37,
        image_size=32,
        patch_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=LATENT,
    )
    prior = _prior()
    ShapEImg2ImgPipeline(
        prior=prior,
        image_encoder=CLIPVisionModel(config),
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_resize=True, do_center_crop=True
        ),
        scheduler=_scheduler(),
        shap_e_renderer=_renderer(),
    ).save_pretrained(path)
    return path


def _prior() -> Any:
    import torch
    from diffusers import PriorTransformer

    torch.manual_seed(0)
    return PriorTransformer(
        num_attention_heads=2,
        attention_head_dim=16,
        embedding_dim=LATENT,
        num_embeddings=HIDDEN,
        embedding_proj_dim=LATENT,
        time_embed_dim=32,
        num_layers=1,
        clip_embed_dim=2 * LATENT,
        additional_embeddings=0,
        time_embed_act_fn="gelu",
        norm_in_type="layer",
        embedding_proj_norm_type="layer",
        encoder_hid_proj_type=None,
        added_emb_type=None,
    )


def _scheduler() -> Any:
    from diffusers import HeunDiscreteScheduler

    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of NumPy, to diffusers
        return HeunDiscreteScheduler(
            beta_schedule="exp",
            num_train_timesteps=1024,
            prediction_type="sample",
            use_karras_sigmas=False,
            clip_sample=True,
            clip_sample_range=1.0,
        )


def _renderer() -> Any:
    """Inside is where the sum of the cosines of a place is large, bent by the latents; colors go with the place."""
    import torch
    from diffusers.pipelines.shap_e import ShapERenderer

    torch.manual_seed(1)
    renderer = ShapERenderer(
        param_names=("nerstf.mlp.0.weight",),
        param_shapes=((HIDDEN, ENCODED),),
        d_latent=LATENT,
        d_hidden=HIDDEN,
        n_hidden_layers=1,
        insert_direction_at=None,
    )
    projected = next(iter(renderer.params_proj.projections.values()))
    first, last = renderer.mlp.mlp
    rows = torch.zeros(HIDDEN, ENCODED)
    for axis in range(3):
        rows[axis, 48 + axis] = 1.0  # the cosine of the lowest frequency
        rows[3 + axis, axis] = 1.0  # the place itself
    with torch.no_grad():
        projected.norm.weight.zero_()
        projected.norm.weight[3:9] = 0.15  # the lowest frequencies alone: the surface stays smooth
        projected.norm.bias.zero_()
        projected.proj.bias.copy_(rows.reshape(-1))
        first.bias.fill_(LINEAR)
        last.weight.zero_()
        last.bias.fill_(0.0)
        for output, scale in ((0, 4.0), (1, 40.0), (2, 40.0)):  # signed distance, densities
            last.weight[output, :3] = scale
            last.bias[output] = scale * (-3 * LINEAR - 2.8)
        for output in range(3, 12):  # colors
            last.weight[output, 3 + output % 3] = 3.0
            last.bias[output] = -3.0 * LINEAR
        cases, masks = _marching_cubes()
        renderer.mesh_decoder.cases.copy_(cases)
        renderer.mesh_decoder.masks.copy_(masks)
    return renderer


def _marching_cubes() -> tuple[Any, Any]:
    """The triangles of each of the 256 ways in which the corners of a cube lie inside or outside, as the decoder wants
    them: corners are counted x + 2y + 4z, edges along x first, then y, then z."""
    import torch

    cases, masks = torch.zeros(256, 5, 3, dtype=torch.long), torch.zeros(256, 5, dtype=torch.bool)
    for case in range(256):
        number = 0
        for loop in _loops(case):
            for second, third in pairwise(loop[1:]):
                cases[case, number] = torch.tensor([loop[0], second, third])
                masks[case, number] = True
                number += 1
    return cases, masks


def _loops(case: int) -> list[list[int]]:
    """The edges that the surface crosses, in the order in which it goes round the corners that lie inside."""
    follows: dict[int, int] = {}
    for axis, side in product(range(3), (0, 1)):
        follows.update(_across(case, axis, side))
    loops = []
    while follows:
        start, edge = follows.popitem()
        loop = [start]
        while edge != start:
            loop.append(edge)
            edge = follows.pop(edge)
        loops.append(loop)
    return loops


def _across(case: int, axis: int, side: int) -> dict[int, int]:
    """On one face of the cube: from the edge where the surface comes in to that where it leaves. Corners inside that
    meet at a diagonal stay apart."""
    first, second = [other for other in range(3) if other != axis]
    if (side == 1) == (axis == 1):
        first, second = second, first
    corners = [
        side << axis,
        side << axis | 1 << first,
        side << axis | 1 << first | 1 << second,
        side << axis | 1 << second,
    ]
    inside = [bool(case >> corner & 1) for corner in corners]
    crossings = [at for at in range(4) if inside[at] != inside[(at + 1) % 4]]
    found = {}
    for at in crossings:
        if inside[(at + 1) % 4]:  # goes in here, and out at the next crossing
            out = next(at + more for more in range(1, 5) if (at + more) % 4 in crossings) % 4
            found[_edge(corners[at], corners[(at + 1) % 4])] = _edge(corners[out], corners[(out + 1) % 4])
    return found


def _edge(one: int, other: int) -> int:
    axis = (one ^ other).bit_length() - 1
    low, high = [place for place in range(3) if place != axis]
    return 4 * axis + (one >> low & 1) + 2 * (one >> high & 1)
