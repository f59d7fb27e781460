"""Receipts: everything that decides what a step makes, as plain data with one hash. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from domain import steps

NO_GUIDANCE = 1.0
"""At this guidance scale and below, diffusers leaves classifier-free guidance out, and with it the negative prompt."""
REAL = ("guidance_scale", "strength", "sharpen", "temperature", "top_p", "truncation", "speed", "start", "end")
"""Parameters that may come as whole numbers and mean the same."""
FORMAT = 1
"""Version of the receipt's own shape."""
DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's word for media made by a trained model."""


class Batch(Struct, frozen=True):
    """That a result was made along with others in one call: of how many steps, counted from 0."""

    size: int
    position: int


class Agreed(Struct, frozen=True):
    """That whoever ran it agreed to speak with a sample of a voice: with which file, in which words, and when. Who it
    was the site knows; it is not told here."""

    sample: str
    words: str
    at: str


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
    means: dict[str, Any] = {}
    """How the model was run, where that is not the plain way."""
    versions: dict[str, str] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    batch: Batch | None = None
    consent: Agreed | None = None
    format: int = FORMAT


def canonical(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that can change a result, in one spelling.

    Names do not count, nor does a negative prompt without guidance, and 3 is 3.0.
    """
    left_out = {"title", "kind", *steps.SOURCES}
    if parameters.get("guidance_scale", NO_GUIDANCE + 1) <= NO_GUIDANCE:
        left_out.add("negative_prompt")
    return {
        name: float(value) if name in REAL else value
        for name, value in sorted(parameters.items())
        if name not in left_out and value not in (None, "")
    }


def shown(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as a receipt tells them: without names and what was left empty."""
    left_out = ("title", "kind", *steps.FILES, *steps.SOURCES)
    return {name: value for name, value in sorted(parameters.items()) if name not in left_out and value is not None}


def input_hash(kind: str, code: int, model_revision: str, parameters: Mapping[str, Any], inputs: Sequence[str]) -> str:
    """SHA-256 in hex of everything that a step's result depends on. `inputs` are hashes of what comes in.

    The model counts by its revision, and so does a VAE: under another name it draws the same.
    """
    counted = {name: value for name, value in parameters.items() if name not in ("model", "vae")}
    return digest([kind, code, model_revision, canonical(counted), list(inputs)])


def digest(content: Any) -> str:
    """SHA-256 in hex of plain data."""
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def to_json(receipt: Receipt | Mapping[str, Any]) -> str:
    """The receipt as canonical JSON, as pictures carry it."""
    return msgspec.json.encode(receipt, order="deterministic").decode()


def in_text(text: str, ending: str, receipt: Mapping[str, Any]) -> str:
    """A text with its receipt in a comment, where files with this ending can have one that nobody is shown: at the end
    of Markdown, behind the head of WebVTT. The others stay as they are."""
    told = "offshoot " + to_json(receipt).replace(">", "\\u003e")
    match ending:
        case "md":
            return f"{text}\n\n<!-- {told} -->"
        case "vtt":
            head, gap, cues = text.partition("\n\n")
            return f"{head}\n\nNOTE {told}{gap}{cues}"
        case _:
            return text


_SAMPLERS = {
    "DDIMScheduler": "DDIM",
    "DDIMParallelScheduler": "DDIM",
    "DDPMScheduler": "DDPM",
    "DDPMParallelScheduler": "DDPM",
    "DEISMultistepScheduler": "DEIS",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "DPMSolverSDEScheduler": "DPM++ SDE",
    "DPMSolverSinglestepScheduler": "DPM++ 2S",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "EulerDiscreteScheduler": "Euler",
    "FlowMatchEulerDiscreteScheduler": "Euler",
    "FlowMatchHeunDiscreteScheduler": "Heun",
    "FlowMatchLCMScheduler": "LCM",
    "HeunDiscreteScheduler": "Heun",
    "KDPM2AncestralDiscreteScheduler": "DPM2 a",
    "KDPM2DiscreteScheduler": "DPM2",
    "LCMScheduler": "LCM",
    "LMSDiscreteScheduler": "LMS",
    "PNDMScheduler": "PLMS",
    "SASolverScheduler": "SA Solver",
    "TCDScheduler": "TCD",
    "UniPCMultistepScheduler": "UniPC",
}
"""What A1111 and those that came after it call the samplers. Parallel forms and those for flows go by the plain names
there."""


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
        "VAE hash": given.get("vae_revision", "")[:10],
        "VAE": given.get("vae"),
        "Lora hashes": _lora_hashes(given.get("loras", [])),
        "Denoising strength": given.get("strength"),
        "Version": "Offshoot",
    }
    lines.append(", ".join(f"{name}: {value}" for name, value in facts.items() if value not in (None, "")))
    return "\n".join(lines)


def _lora_hashes(loras: Sequence[Mapping[str, Any]]) -> str:
    told = ", ".join(f"{lora['name']}: {lora['revision'][:12]}" for lora in loras)
    return f'"{told}"' if told else ""


def xmp() -> str:
    """An XMP packet that says: made by a trained model."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE}"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
