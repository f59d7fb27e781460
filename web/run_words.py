"""How a run's state reads: headline, announcement, numbers with their units."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from domain import clock, transcripts, upscalers
from domain.estimates import Estimate
from domain.run_pages import RunPage, StepPage
from domain.services import Missing
from domain.steps import Recipe
from domain.transcripts import Said
from web.filters import number, plural, ratio, seconds

DOING = {
    "prompt_template": "Writing the prompt",
    "text_to_text": "Writing",
    "text_to_speech": "Speaking",
    "speech_to_text": "Listening",
    "text_to_image": "Drawing",
    "image_to_image": "Redrawing",
    "inpaint": "Repainting",
    "gan_image": "Generating",
    "text_to_animation": "Animating",
    "image_to_animation": "Setting in motion",
    "text_to_3d": "Sculpting",
    "image_to_3d": "Sculpting",
    "upscale": "Enlarging",
    "join": "Joining",
    "pick": "Choosing",
}
PHASES = {"loading": "loading the model", "saving": "saving the result"}
FORMS = (("", "GLB"), ("ply", "PLY"), ("stl", "STL"))
"""What a 3D object can be saved as: the name of the form, "" for the file itself, and what it is called."""
STEM = {
    "succeeded": "done",
    "reused": "done",
    "running": "running",
    "queued": "waiting",
    "waiting": "waiting",
    "choosing": "running",
    "failed": "failed",
    "cancelled": "plain",
}
_PLACES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def place(position: int) -> str:
    """1 is "first"; from the eleventh on in figures."""
    if position <= len(_PLACES):
        return _PLACES[position - 1]
    ending = "th" if position % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(position % 10, "th")
    return f"{number(position)}{ending}"


def about(value: float | None) -> str:
    """A duration one may rely on only roughly: "about 6 s", "about 3 min"; "" when unknown."""
    if value is None:
        return ""
    if value < 1:
        return "a moment"
    if value < 90:
        return f"about {round(value)} s"
    return f"about {round(value / 60)} min"


def cost(estimate: Estimate) -> str:
    """What runs come to: "8 runs, 10 of 16 steps known already, about 12 s"."""
    if not estimate.runs:
        return "Everything is known already, so nothing is run"
    words = plural(estimate.runs, "run")
    if estimate.reused == estimate.steps:
        return f"{words}, all known already"
    if estimate.reused:
        words += f", {number(estimate.reused)} of {plural(estimate.steps, 'step')} known already"
    return f"{words}, {about(estimate.seconds)}" if about(estimate.seconds) else words


def nobody_there(missing: Missing) -> str:
    """That steps will wait, before they are asked for."""
    there = [f"is there for {_named(missing.kinds)}"] if missing.kinds else []
    having = [f"has {_models(missing.models)}"] if missing.models else []
    return f"No worker {', and none '.join(there + having)} just now. A run waits, and goes on as soon as one is there."


def _models(names: Sequence[str]) -> str:
    return f"the model{'s' if len(names) > 1 else ''} {_named(names)}"


def _named(names: Sequence[str]) -> str:
    return " and ".join(f"“{name}”" for name in names)


def headline(run: RunPage) -> str:
    """The state of the whole run in a few words."""
    step = run.current
    if run.state == "succeeded":
        if all(one.state == "reused" for one in run.steps):
            return "Done at once"
        return f"Done in {seconds(run.seconds)}" if run.seconds is not None else "Done"
    if run.state == "failed":
        return f"Failed in step {step.ordinal}" if step else "Failed"
    if run.state == "cancelled":
        return "Stopped"
    if run.cancelling:
        return "Stopping"
    if step is None:
        return "Waiting"
    if step.state == "queued":
        return _waiting(step)
    if step.state == "choosing":
        return "Choose how it goes on" if run.mine else "Waiting for a choice"
    return _doing(step)


def _waiting(step: StepPage) -> str:
    if step.attempt:
        return "Trying again soon"
    if step.unserved:
        return "Waiting for a worker" if step.ordinal == 1 else f"Step {step.ordinal} waits for a worker"
    if step.lacking:
        having = f"a worker that has {_models(step.lacking)}"
        return f"Waiting for {having}" if step.ordinal == 1 else f"Step {step.ordinal} waits for {having}"
    line = f", {place(step.place)} in the queue" if step.place else ""
    return f"Waiting{line}" if step.ordinal == 1 else f"Step {step.ordinal} waits{line}"


def _doing(step: StepPage) -> str:
    doing = DOING.get(step.kind, step.label)
    if step.phase in PHASES and not (step.phase == "loading" and step.progress):
        return f"{doing}: {PHASES[step.phase]}"
    return f"{doing}, {step.percent} %" if step.progress_total > 1 else doing


def announcement(run: RunPage) -> str:
    """One sentence for screen readers; changes only when a step starts or ends."""
    step = run.current
    if run.over or run.cancelling or step is None:
        return headline(run)
    total = len(run.steps)
    if step.state == "choosing":
        return f"Step {step.ordinal} of {total} waits for your choice"
    if step.state == "running":
        return f"Step {step.ordinal} of {total}, {step.label.lower()}, has started"
    return "Waiting for the first step" if step.ordinal == 1 else f"Step {step.ordinal - 1} of {total} is done"


def shown_step(run: RunPage) -> StepPage | None:
    """The step whose picture or text stands large: the one being drawn, else the last with a result."""
    for step in run.steps:
        if step.state == "running" and step.preview is not None:
            return step
    results = [step for step in run.steps if step.pictures or (run.state == "succeeded" and step.output_text)]
    return results[-1] if results else None


def size(step: StepPage) -> str:
    """The size the finished picture will have, or "" where it is not known beforehand."""
    width, height = step.value("width"), step.value("height")
    return f"{width} × {height}" if width and height else ""


def timing(step: StepPage) -> str:
    """ "9.4 s, about 6 s left" while running, the time it took afterwards."""
    if step.state == "running" and step.elapsed is not None:
        left = about(step.left)
        return f"{seconds(step.elapsed)}, {left} left" if left else seconds(step.elapsed)
    return seconds(step.elapsed) if step.state in ("succeeded", "failed") else ""


def speed(step: StepPage) -> str:
    """Denoising passes a second, once there are enough to tell."""
    if step.state != "running" or step.progress < 2 or not step.elapsed:
        return ""
    rate = step.progress / step.elapsed
    return f"{rate:.1f} a second" if rate >= 1 else f"{1 / rate:.1f} s each"


def mark(step: StepPage) -> str:
    """The tag beside a step's name, or ""."""
    if step.state == "running":
        return "running" if step.attempt <= 1 else f"running, attempt {step.attempt}"
    if step.state == "queued":
        again = f", attempt {step.attempt + 1}" if step.attempt else ""
        return (f"{place(step.place)} in the queue" if step.place else "in the queue") + again
    return {
        "waiting": f"waits for step {step.ordinal - 1}",
        "choosing": "waits for a choice",
        "failed": "failed",
        "cancelled": "stopped" if step.attempt else "not run",
        "reused": "reused",
    }.get(step.state, "")


_FACTS = (
    ("model", "Model"),
    ("seed", "Seed"),
    ("guidance_scale", "Guidance"),
    ("scheduler", "Scheduler"),
    ("num_inference_steps", "Sampling steps"),
    ("temperature", "Temperature"),
    ("max_new_tokens", "At most"),
    ("strength", "Strength"),
    ("num_images_per_prompt", "Pictures"),
    ("factor", "Factor"),
    ("method", "Method"),
    ("layout", "Layout"),
    ("most", "At most"),
    ("class_label", "Class"),
    ("num_images", "Pictures"),
    ("truncation", "Variety"),
    ("detail_seed", "Details of seed"),
    ("voice", "Voice"),
    ("speed", "Speed"),
    ("language", "Language"),
    ("task", "Task"),
    ("noise_level", "Noise level"),
    ("vae", "Decoder"),
)
COUNTED = {
    "text_to_text": "Token",
    "text_to_speech": "Part",
    "speech_to_text": "Second",
    "gan_image": "Picture",
    "upscale": "Part",
}
"""What a step's progress counts, where that are no passes."""


def facts(step: StepPage, over: bool) -> list[tuple[str, str]]:
    """The parameters that the stem shows, fewer while the run is alive."""
    pairs: list[tuple[str, str]] = []
    if step.state == "running" and step.progress_total:
        counted = "Frame" if step.value("layout") == "walk" else COUNTED.get(step.kind, "Pass")
        pairs += [(counted, f"{step.progress} of {step.progress_total}"), ("Speed", speed(step))]
    for field, label in _FACTS if over else _FACTS[:3] + _FACTS[9:10]:
        value = step.value(field)
        if value is not None:
            pairs.append((label, number(value) if field.endswith("seed") else _plain(value)))
    if heard := part(step.step):
        pairs.append(("Part", heard))
    if over and (fps := step.value("fps")):
        pairs.append(("Frames", f"{step.value('frames')}, {fps} a second"))
    if not step.value("language") and (found := step.receipt.get("parameters", {}).get("language")):
        pairs.append(("Language", f"{found}, found out"))
    if over and size(step):
        pairs.append(("Size", size(step)))
    if step.step.get("upload") and step.kind == "text_to_speech":
        pairs.append(("Voice", "of a sample"))
    elif step.value("voice_of"):
        pairs.append(("Voice", f"of step {step.value('voice_of')}"))
    elif not step.value("voice") and (voice := step.receipt.get("parameters", {}).get("voice")):
        pairs.append(("Voice", f"{voice}, the first"))
    if chosen := step.receipt.get("parameters", {}).get("chosen"):
        pairs.append(("Chosen", f"{', '.join(map(str, chosen))} of {step.receipt['parameters']['of']}"))
    if loras := step.receipt.get("parameters", {}).get("loras"):
        pairs.append(("LoRAs", ", ".join(f"{lora['name']} {lora['weight']:g}" for lora in loras)))
    if triangles := step.receipt.get("parameters", {}).get("triangles"):
        pairs.append(("Triangles", number(triangles)))
    if not over and step.state in ("waiting", "queued"):
        pairs.append(("Expected", about(step.left)))
    return [(label, value) for label, value in pairs if value]


def part(step: Mapping[str, Any]) -> str:
    """Which part of a sound a step hears: "0:05 to 0:10", "from 0:05", "up to 0:10"; "" for all of it."""
    start, end = step.get("start"), step.get("end")
    if start and end:
        return f"{clock.shown(start)} to {clock.shown(end)}"
    return f"from {clock.shown(start)}" if start else f"up to {clock.shown(end)}" if end else ""


def _plain(value: Any) -> str:
    """A parameter without needless zeros and without the end of a class name."""
    return f"{value:g}" if isinstance(value, float) else str(value).removesuffix("Scheduler")


def shortly(value: Any) -> str:
    """Any parameter on a part of a line."""
    words = (number(value) if isinstance(value, int) else _plain(value)) or "(empty)"
    return words if len(words) <= 80 else words[:79] + "…"


def prompt(step: StepPage) -> str:
    """The words the step was given, filled in if known; the text it made is in `output_text`."""
    return str(step.value("prompt") or step.value("template") or "")


def resume_at(run: RunPage) -> int:
    """The step from which a failed or stopped run would go on."""
    ended = [step.ordinal for step in run.steps if step.state in ("failed", "cancelled", "waiting")]
    return min(ended, default=1)


def alt(step: StepPage) -> str:
    """What a screen reader says of a step's picture."""
    asked = prompt(step) or str(step.value("class_label") or "")
    return f"{step.label}: {asked[:200]}" if asked else f"Result of step {step.ordinal}, {step.label.lower()}"


def bytes(size: int) -> str:
    """A file's size: "812 B", "40 KB", "1.3 MB"."""
    if size < 1_000:
        return f"{size} B"
    return f"{size / 1_000:.0f} KB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def file_name(run: RunPage) -> str:
    """A name for a downloaded result, without its ending."""
    title = re.sub(r"[^a-z0-9]+", "-", run.pipeline_title.lower()).strip("-")[:60]
    return f"{title or 'offshoot'}-run-{run.number}"


def ending(step: StepPage) -> str:
    """What the file of a step's text is called at its end."""
    layout = step.value("layout")
    if step.kind == "speech_to_text" and layout in ("srt", "vtt"):
        return str(layout)
    return "md" if step.kind == "text_to_text" else "txt"


def said(step: StepPage) -> list[Said]:
    """What a step wrote down, piece by piece, where its receipt tells."""
    return transcripts.told(step.receipt) if step.kind == "speech_to_text" else []


def other_layouts(step: StepPage) -> list[tuple[str, str]]:
    """How else a step's text can be saved: the layout, and the ending of its file."""
    own = step.value("layout")
    return [(name, "txt" if name == "text" else name) for name in transcripts.LAYOUTS if said(step) and name != own]


def expected_ratio(run: RunPage) -> str:
    """The nearest `data-ar` of the picture to come."""
    for step in run.steps:
        if step.step.get("width") and step.step.get("height"):
            return ratio(step.step["width"], step.step["height"])
    return "3:2"


def nothing_yet(run: RunPage) -> str:
    """Why there is no picture."""
    if run.state == "failed":
        return "Failed before there was anything to see"
    if run.state == "cancelled":
        return "Stopped before there was anything to see"
    if run.over:
        return "No picture, no text"
    if run.state == "queued" and run.starts_in is not None and run.starts_in >= 1:
        return f"Expected to start in {about(run.starts_in)}"
    if run.current is not None and run.current.kind in ("text_to_3d", "image_to_3d"):
        return "It is seen from all around once it is done"
    return "A rough preview appears after the first passes"


STATE = {"queued": "waiting", "running": "running", "succeeded": "done", "failed": "failed", "cancelled": "stopped"}
NO_PICTURE = {
    "queued": "Waiting",
    "running": "Running",
    "succeeded": "No picture",
    "failed": "Failed",
    "cancelled": "Stopped",
}


def choices(values: Sequence[str]) -> list[tuple[str, str]]:
    """Options for a select."""
    return [(value, value or "(nothing)") for value in values]


def _told(step: Mapping[str, Any], field: str) -> bool:
    return step.get(field) not in (None, "") and not upscalers.idle(field, step)


def recipe_steps(recipe: Recipe) -> list[dict[str, Any]]:
    """A recipe's steps as the form lists them: label, prompt and the parameters that matter."""
    listed: list[dict[str, Any]] = []
    for step in recipe.steps:
        plain: dict[str, Any] = msgspec.to_builtins(step)
        facts = [(label, _plain(plain[field])) for field, label in _FACTS if _told(plain, field)]
        if heard := part(plain):
            facts.append(("Part", heard))
        if plain.get("width"):
            facts.append(("Size", f"{plain['width']} × {plain['height']}"))
        listed.append(
            {
                "label": step.title or step.label,
                "prompt": plain.get("prompt") or plain.get("template") or "",
                "facts": facts,
            }
        )
    return listed


def receipt(step: StepPage) -> list[tuple[str, str]]:
    """What made the result, in pairs of label and value: weights, software, machine, files, times."""
    if not step.receipt:
        return []
    got = step.receipt
    software = ", ".join(f"{name} {version}" for name, version in sorted((got.get("versions") or {}).items()))
    pairs = [("Model weights", _hash(got.get("model_revision", ""))), ("Software", software)]
    pairs += [("Machine", " ".join(part for part in (got.get("device"), got.get("dtype")) if part))]
    pairs += [("Means", ", ".join(f"{name} {value}" for name, value in sorted((got.get("means") or {}).items())))]
    batch = got.get("batch")
    pairs += [("Drawn together", f"{batch['position'] + 1} of {batch['size']} runs in one call" if batch else "")]
    if agreed := got.get("consent"):
        pairs += [("Consent", f"{_day(agreed['at'])}, to {_hash(agreed['sample'])}: “{agreed['words']}”")]
    pairs += [("Took in", _hash(sha256)) for sha256 in got.get("inputs") or ()]
    pairs += [("Gave", _hash(sha256)) for sha256 in got.get("outputs") or ()]
    spent = (("queued", "in the queue"), ("load", "loading"), ("run", "running"), ("save", "saving"))
    times = ", ".join(f"{seconds(step.timings[name])} {doing}" for name, doing in spent if step.timings.get(name))
    return [(label, value) for label, value in [*pairs, ("Times", times)] if value]


def _day(moment: str) -> str:
    """The day of a moment as a receipt writes it: 29 November 2026."""
    at = datetime.fromisoformat(moment)
    return f"{at.day} {at.strftime('%B %Y')}"


def _hash(sha256: str) -> str:
    """Enough of a hash to compare by eye."""
    return f"sha256 {sha256[:16]}…" if sha256 else ""
