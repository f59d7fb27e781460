"""Receipts: everything that decides what a step makes, as plain data with one hash. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

FORMAT = 1
"""Version of the receipt's own shape."""
DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's word for media made by a trained model."""


class Receipt(Struct, kw_only=True, frozen=True):
    """How a result came to be. Equal receipts on equal machines give equal results.

    `parameters` are canonical: filled templates, resolved seeds, nothing that doesn't matter.
    `inputs` and `outputs` are SHA-256 of the pictures that went in and came out.
    """

    kind: str
    code: int
    parameters: dict[str, Any]
    seed: int | None = None
    model: str = ""
    model_revision: str = ""
    device: str = ""
    dtype: str = ""
    versions: dict[str, str] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    format: int = FORMAT


def canonical(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters without what never changes a result, whole numbers as floats where both occur."""
    return {
        name: float(value) if name in ("guidance_scale", "strength", "sharpen") else value
        for name, value in sorted(parameters.items())
        if name not in ("title", "source", "kind") and value is not None
    }


def input_hash(
    kind: str, code: int, model_revision: str, parameters: Mapping[str, Any], seed: int | None, inputs: Sequence[str]
) -> str:
    """SHA-256 in hex of everything that a step's result depends on."""
    content = [kind, code, model_revision, canonical(parameters), seed, list(inputs)]
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def to_json(receipt: Receipt) -> str:
    """The receipt as canonical JSON, as pictures carry it."""
    return msgspec.json.encode(receipt, order="deterministic").decode()


_SAMPLERS = {
    "DDIMScheduler": "DDIM",
    "DDPMScheduler": "DDPM",
    "DEISMultistepScheduler": "DEIS",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "DPMSolverSinglestepScheduler": "DPM++ 2S",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "EulerDiscreteScheduler": "Euler",
    "HeunDiscreteScheduler": "Heun",
    "KDPM2DiscreteScheduler": "DPM2",
    "PNDMScheduler": "PLMS",
    "UniPCMultistepScheduler": "UniPC",
}


def infotext(receipt: Receipt, seed: int | None, width: int, height: int) -> str:
    """The picture's parameters in the lines that A1111 and most tools read; empty for other kinds."""
    given = receipt.parameters
    if "prompt" not in given:
        return ""
    lines = [given["prompt"]]
    if given.get("negative_prompt"):
        lines.append(f"Negative prompt: {given['negative_prompt']}")
    scheduler = str(given.get("scheduler", ""))
    facts: dict[str, Any] = {
        "Steps": given.get("num_inference_steps"),
        "Sampler": _SAMPLERS.get(scheduler, scheduler),
        "CFG scale": f"{given.get('guidance_scale', 0):g}",
        "Seed": seed,
        "Size": f"{width}x{height}",
        "Model hash": receipt.model_revision[:10],
        "Model": receipt.model,
        "Denoising strength": given.get("strength"),
        "Version": "Offshoot",
    }
    lines.append(", ".join(f"{name}: {value}" for name, value in facts.items() if value not in (None, "")))
    return "\n".join(lines)


def xmp() -> str:
    """An XMP packet that says: made by a trained model."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE}"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
