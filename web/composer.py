"""The composer's form: from a recipe to fields, from fields back, and moving steps about.

A form is a flat dict of what was typed, valid or not: `title`, `i1-name`, `l1-items`,
`s2-guidance_scale`. Drafts keep it as it is; only `read` judges it.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from domain import defaults, diff, licenses, steps, tags, template, versions, vocabulary
from domain.errors import Invalid
from domain.models import LORA, SAMPLE, ModelChoice
from domain.pipelines import VISIBILITIES, Details, clean
from domain.vocabulary import Unknown
from web import class_labels, lora_help, upscaler_help, vae_help, voice_help
from web.text_starts import STARTS as TEXT_STARTS

Form = dict[str, str]

DETAILS = ("title", "description", "tags", "license", "visibility", "note")
_ROW = re.compile(
    r"(?:i[1-9]\d?-(?:name|kind|default|choices)|l[1-9]\d?-(?:name|items)|add-\d{1,2}-kind|s[1-9]\d?-[a-z_]{1,40})"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OWN = {kind: {"kind", *(field.name for field in steps.fields_of(kind))} for kind in steps.KINDS}
_OWN[voice_help.KIND] |= {voice_help.FIELD}
_FIELDS = set[str]().union(*_OWN.values())
FILES = {f"s{number}-{field}-file": f"s{number}-{field}" for number in range(1, 100) for field in steps.FILES}
"""Fields that hold a file, and those that name it once it is kept."""
RARE = (
    "title", "system", "negative_prompt", "scheduler", "num_images_per_prompt", "method", "sharpen", "feather", "top_p",
    "stop", "vae", "voice_of", "loop", "colors", "detail_seed", "motion_bucket_id",
)  # fmt: skip
"""Fields folded under "More" until they are used."""
STARTS: dict[str, tuple[str, list[steps.AnyStep]]] = {
    "picture": ("A picture", [steps.TextToImage()]),
    "template": ("A template and a picture", [steps.PromptTemplate(), steps.TextToImage(prompt="{text}")]),
    "generate": ("Shapes from a generator", [steps.GanImage()]),
    "animation": ("An animation", [steps.TextToAnimation()]),
    "redraw": ("Draw, redraw, enlarge", [steps.TextToImage(), steps.ImageToImage(), steps.Upscale()]),
}


def is_number(text: str) -> bool:
    """Whether a button's tail names a row: a few digits, not thousands."""
    return text.isascii() and text.isdecimal() and len(text) <= 3


def knows(name: str) -> bool:
    """Whether the composer has a field of this name."""
    if name in DETAILS or name in ("do", "key"):
        return True
    if not _ROW.fullmatch(name):
        return False
    return name[0] != "s" or name.split("-", 1)[1] in _FIELDS


def stray(form: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Which of the names belong to a step that is not there, or whose kind has no such field.

    A step's kind never changes in the form, so no field of another kind is left over. Of an
    unknown kind every field may come: the kind is what must be mended.
    """
    found: list[str] = []
    for name in names:
        match = re.fullmatch(r"(s\d+)-(\w+)", FILES.get(name, name))
        if match is None:
            continue
        kind, field = form.get(f"{match[1]}-kind"), match[2]
        if kind is None or (kind in steps.KINDS and field not in _OWN[kind]):
            found.append(name)
    return found


def pictures(form: Mapping[str, str]) -> list[str]:
    """The SHA-256 of every picture that the form's steps name, as many as there may be steps."""
    named = [row.get(field, "") for row in _rows(form, "s")[: steps.MAX_STEPS] for field in steps.FILES]
    return [sha256 for sha256 in dict.fromkeys(named) if _SHA256.fullmatch(sha256)]


def samples(form: Mapping[str, str]) -> list[str]:
    """The SHA-256 of every sample of a voice that the form's steps name."""
    return [sha256 for sha256 in voice_help.samples(_rows(form, "s")) if _SHA256.fullmatch(sha256)]


def takes_sample(form: Mapping[str, str], key: str) -> bool:
    """Whether a step's file field, such as `s2-upload`, takes the sample of a voice."""
    return form.get(f"{key.partition('-')[0]}-kind") == voice_help.KIND


def medium_of(form: Mapping[str, str], key: str) -> steps.Medium | None:
    """What a step's file field takes, such as that of `s2-upload`."""
    number, _, field = key.partition("-")
    kind = steps.KINDS.get(form.get(f"{number}-kind", ""))
    return steps.taken_by(kind, field) if kind else "image"


def kept(form: Mapping[str, str]) -> Form:
    """What a draft keeps of a request: everything typed, without buttons, keys and files."""
    return {
        name: value
        for name, value in form.items()
        if name not in ("do", "key") and not name.endswith("-file") and not name.startswith("add-")
    }


# -- from a recipe to a form -------------------------------------------------------------------


def form_of(details: Details, recipe: steps.Recipe) -> Form:
    """The form that shows a saved pipeline."""
    form = {
        "title": details.title,
        "description": details.description,
        "tags": ", ".join(details.tags),
        "license": details.license,
        "visibility": details.visibility,
        "note": "",
    }
    for number, entry in enumerate(recipe.inputs, 1):
        form |= {
            f"i{number}-name": entry.name,
            f"i{number}-kind": entry.kind,
            f"i{number}-default": entry.default,
            f"i{number}-choices": "\n".join(entry.choices),
        }
    for number, (name, items) in enumerate(recipe.lists.items(), 1):
        form |= {f"l{number}-name": name, f"l{number}-items": "\n".join(items)}
    return form | _steps_form([_typed(step) for step in recipe.steps])


def blank(start: str = "") -> Form:
    """The form of a new pipeline: one empty step, or one of the starting points."""
    if start in TEXT_STARTS:
        return form_of(Details("", visibility="private"), TEXT_STARTS[start][1])
    _, wanted = STARTS.get(start, STARTS["picture"])
    return form_of(Details("", visibility="private"), steps.Recipe(steps=list(wanted)))


def _typed(step: steps.Step) -> Form:
    """A step's parameters as somebody would type them, with its kind."""
    kind = steps.kind_of(step)
    return {"kind": kind} | {field.name: as_typed(getattr(step, field.name)) for field in steps.fields_of(kind)}


def as_typed(value: Any) -> str:
    """A parameter as text: "" for none, numbers exact, without needless zeros."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _steps_form(rows: Iterable[Mapping[str, str]]) -> Form:
    return {f"s{number}-{name}": value for number, row in enumerate(rows, 1) for name, value in row.items()}


# -- rows of a form ----------------------------------------------------------------------------


def _rows(form: Mapping[str, str], letter: str) -> list[Form]:
    """The steps, inputs or lists of a form, gaps closed, each without its prefix."""
    found: dict[int, Form] = {}
    for name, value in form.items():
        match = re.fullmatch(rf"{letter}(\d+)-(\w+)", name)
        if match:
            found.setdefault(int(match.group(1)), {})[match.group(2)] = value
    return [found[number] for number in sorted(found) if letter != "s" or "kind" in found[number]]


def _numbered(letter: str, rows: Iterable[Mapping[str, str]]) -> Form:
    return {f"{letter}{number}-{name}": value for number, row in enumerate(rows, 1) for name, value in row.items()}


def tidy(form: Mapping[str, str]) -> Form:
    """The form with rows numbered from 1 and empty inputs and lists dropped."""
    inputs = [row for row in _rows(form, "i") if any(row.get(name) for name in ("name", "default", "choices"))]
    lists = [row for row in _rows(form, "l") if any(row.values())]
    details = {name: form.get(name, "") for name in DETAILS}
    return details | _numbered("i", inputs) | _numbered("l", lists) | _steps_form(_rows(form, "s"))


def rearranged(form: Mapping[str, str], do: str) -> Form:
    """The form after a button was pressed: `up-2`, `down-2`, `drop-2`, `add-2`, `clear-upload-2`, `clear-mask-2`,
    `add-input`, `drop-input-1`, `add-list`, `drop-list-1`. Steps that name a moved step follow it."""
    action, _, rest = do.partition("-")
    rows = {"i": _rows(form, "i"), "l": _rows(form, "l"), "s": _rows(form, "s")}
    what, _, number = rest.rpartition("-") if action in ("drop", "clear") else (rest, "", "")
    if action == "add" and rest == "input":
        rows["i"].append({"name": next(iter(undeclared(form)), ""), "kind": "text"})
    elif action == "add" and rest == "list":
        rows["l"].append({"name": "", "items": ""})
    elif action == "drop" and what in ("input", "list") and is_number(number):
        rows[what[0]][max(int(number) - 1, 0) : int(number)] = []
    elif action == "clear" and what in steps.FILES and is_number(number):
        for row in rows["s"][max(int(number) - 1, 0) : int(number)]:
            row[what] = ""
            row.pop(voice_help.FIELD, None)
    elif is_number(rest):
        rows["s"] = _moved(rows["s"], action, int(rest), form.get(f"add-{rest}-kind", ""))
    details = {name: form.get(name, "") for name in DETAILS}
    return details | _numbered("i", rows["i"]) | _numbered("l", rows["l"]) | _steps_form(rows["s"])


def count(form: Mapping[str, str]) -> int:
    """How many steps the form has."""
    return len(_rows(form, "s"))


def undeclared(form: Mapping[str, str]) -> list[str]:
    """Names that prompts put in braces and no input declares; `{text}` is the step before's."""
    fields = {field.name for kind in steps.KINDS for field in steps.fields_of(kind) if field.widget == "prompt"}
    used = [name for row in _rows(form, "s") for field in fields for name in template.names(row.get(field, ""))]
    known = {row.get("name", "").strip() for row in _rows(form, "i")} | {"text"}
    return sorted(set(used) - known)


def _moved(rows: list[Form], action: str, number: int, kind: str) -> list[Form]:
    order: list[int] = list(range(1, len(rows) + 1))
    at = number - 1
    new: Form = {}
    if action == "add" and 0 <= number <= len(rows) and len(rows) < steps.MAX_STEPS:
        new = _typed(steps.KINDS.get(kind, steps.TextToImage)())
        order.insert(number, 0)
    elif action == "drop" and 1 <= number <= len(rows):
        order.pop(at)
    elif action == "up" and 2 <= number <= len(rows):
        order[at - 1], order[at] = order[at], order[at - 1]
    elif action == "down" and 1 <= number < len(rows):
        order[at], order[at + 1] = order[at + 1], order[at]
    place = {str(old): str(now) for now, old in enumerate(order, 1)}
    moved = [rows[old - 1] if old else new for old in order]
    return [row | {name: place.get(row[name], "") for name in steps.SOURCES if row.get(name)} for row in moved]


def suited(form: Mapping[str, str], number: int, models: Mapping[str, Collection[ModelChoice]]) -> Form:
    """The form with step `number` as suits its model, but for what somebody chose; where the model is not on this site,
    with the first that is. A step that needs no model and has none stays without."""
    rows = _rows(form, "s")
    row = rows[number - 1] if 1 <= number <= len(rows) else {}
    offered = list(models.get(row.get("kind", ""), ()))
    if not offered or (not row.get("model") and not _needs_model(row["kind"])):
        return dict(form)
    chosen = next((choice for choice in offered if choice.name == row.get("model")), offered[0])
    values = {name: as_typed(value) for name, value in _unlike(row, row["kind"], chosen, offered).items()}
    return dict(form) | {f"s{number}-{name}": value for name, value in {**values, "model": chosen.name}.items()}


def _unlike(row: Mapping[str, str], kind: str, chosen: ModelChoice, offered: Collection[ModelChoice]) -> dict[str, Any]:
    """What suits the chosen model where the step has what its kind or another model begins with: nobody chose that."""
    fields = {field.name: as_typed(field.default) for field in steps.fields_of(kind)}
    begun = {name: {usual, *(as_typed(one.defaults.get(name)) for one in offered)} for name, usual in fields.items()}
    return {
        name: value
        for name, value in chosen.defaults.items()
        if name in fields and row.get(name) != as_typed(value) and row.get(name) in begun[name]
    }


def begun(start: str, model: str, models: Mapping[str, Collection[ModelChoice]]) -> Form:
    """The form of a new pipeline: a starting point, or one step with a model behind what it cannot do without, each
    step as suits its model."""
    kind = next((kind for kind in steps.KINDS if model in {choice.name for choice in models.get(kind, ())}), "")
    form = blank(start)
    if kind:
        step = msgspec.convert({"kind": kind, "model": model}, steps.AnyStep)
        drawn = [steps.TextToImage()] if step.takes == "image" and "upload" not in _OWN[kind] else []
        form = form_of(Details("", visibility="private"), steps.Recipe(steps=[*drawn, step]))
    for number in range(1, count(form) + 1):
        form = suited(form, number, models)
    return form


# -- from a form to a recipe -------------------------------------------------------------------


class Composed(Struct, frozen=True):
    """What a form says. `recipe` has a step for each of the form's, the kind's defaults standing
    in for one that cannot be read; use it only when `errors` is empty."""

    details: Details
    recipe: steps.Recipe
    errors: dict[str, str]


def read(form: Mapping[str, str], models: Mapping[str, Collection[str]]) -> Composed:
    """Judge a tidy form. `models` is the names that each kind may use."""
    details, errors = _details(form)
    found, broken = _read_steps(form, models)
    inputs, input_errors = _read_inputs(form)
    lists, list_errors = _read_lists(form)
    recipe = steps.Recipe(inputs=inputs, lists=lists, steps=found)
    whole = {key: words for key, words in versions.check(recipe).items() if not key.startswith(tuple(broken))}
    for part in broken.values():
        errors |= part
    return Composed(details, recipe, {**whole, **errors, **input_errors, **list_errors})


def _details(form: Mapping[str, str]) -> tuple[Details, dict[str, str]]:
    details = Details(
        title=form.get("title", ""),
        description=form.get("description", ""),
        tags=tags.split(form.get("tags", "")),
        license=form.get("license", licenses.DEFAULT),
        visibility=form.get("visibility", "private"),
    )
    errors: dict[str, str] = {}
    if len(form.get("note", "")) > versions.MAX_NOTE:
        errors["note"] = f"At most {versions.MAX_NOTE} characters"
    try:
        return clean(details), errors
    except Invalid as error:
        return details, {**errors, **error.fields}


def _read_steps(
    form: Mapping[str, str], models: Mapping[str, Collection[str]]
) -> tuple[list[steps.AnyStep], dict[str, dict[str, str]]]:
    """The steps, and the words for those that cannot be read, by prefix (`s2-`)."""
    found: list[steps.AnyStep] = []
    broken: dict[str, dict[str, str]] = {}
    for number, row in enumerate(_rows(form, "s"), 1):
        prefix = f"s{number}-"
        kind = row.get("kind", "")
        step, errors = steps.parse_step(kind, row, prefix)
        model = getattr(step, "model", None)
        if step is not None and model and model not in models.get(kind, ()):
            errors = {f"{prefix}model": "Choose one of the list" if models.get(kind) else "No model for this yet"}
        if errors:
            broken[prefix] = errors
        stand_in = steps.KINDS.get(kind, steps.TextToImage)()
        found.append(step if step is not None else msgspec.convert(msgspec.to_builtins(stand_in), steps.AnyStep))
    return found, broken


def _read_inputs(form: Mapping[str, str]) -> tuple[list[steps.Input], dict[str, str]]:
    found: list[steps.Input] = []
    errors: dict[str, str] = {}
    for number, row in enumerate(_rows(form, "i"), 1):
        prefix = f"i{number}-"
        name = row.get("name", "").strip()
        choices = [line.strip() for line in row.get("choices", "").split("\n") if line.strip()]
        kind = row.get("kind", "text")
        default = row.get("default", "").strip() or (choices[0] if kind == "choice" and choices else "")
        try:
            entry = {"name": name, "kind": kind, "default": default, "choices": choices if kind == "choice" else []}
            found.append(msgspec.convert(entry, steps.Input))
        except msgspec.ValidationError as error:
            errors |= _input_words(prefix, str(error))
            found.append(steps.Input(name=f"input_{number}", default=default[:2000]))
    return found, errors


def _input_words(prefix: str, error: str) -> dict[str, str]:
    if "$.name" in error:
        return {f"{prefix}name": "Small letters, digits and _ only, a letter first"}
    if "$.default" in error:
        return {f"{prefix}default": "At most 2,000 characters"}
    if "$.choices" in error:
        return {f"{prefix}choices": "At most 50 choices of 200 characters"}
    return {f"{prefix}kind": "Choose one of the list"}


def _read_lists(form: Mapping[str, str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    found: dict[str, list[str]] = {}
    errors: dict[str, str] = {}
    for number, row in enumerate(_rows(form, "l"), 1):
        name = row.get("name", "").strip()
        if name in found:
            errors[f"l{number}-name"] = "Another list has this name"
            name = f"{name}_{number}"
        found[name] = [line.strip() for line in row.get("items", "").split("\n") if line.strip()]
    return found, errors


# -- what the page draws -----------------------------------------------------------------------


class Control(Struct, frozen=True, kw_only=True):
    """One field of a step as the page draws it."""

    key: str
    title: str
    help: str
    widget: str
    value: str
    picture: str
    """The file to show: the value, if the viewer may see it."""
    peaks: str
    """How loud that is, of a sound."""
    behind: str
    """The picture to paint a mask over: what the step before made lately."""
    error: str
    was: str
    """The parent's value where it differs, as typed."""
    tokens: list[diff.Token]
    """A prompt's difference from the parent's."""
    unknown: Unknown | None
    """What of a prompt its model does not know; None for fields that no model of few words reads."""
    choices: list[tuple[str, str]]
    placeholder: str
    max_length: int | None
    lines: int
    part: str = ""
    """What the page calls fields of this kind where they are shown with some models only."""
    parts: dict[str, str] = {}
    """Of a choice of models: the parts that each of them takes."""


class StepRow(Struct, frozen=True, kw_only=True):
    """One step of the form. `changed` against the parent: "", "changed", "moved" or "added"."""

    number: int
    kind: str
    label: str
    medium: str
    changed: str
    errors: int
    prompts: list[Control]
    files: list[Control]
    params: list[Control]
    more: list[Control]
    more_open: bool
    tick: voice_help.Tick | None
    """What the step's sample of a voice needs; None for a step that takes none."""
    model: str
    """The model that the step names; "" for none."""
    trigger: list[str]
    """The words that call what the model has learned."""
    suits: list[tuple[str, str]]
    """(title, value): what the model's host suggests for it, where the step has something else."""


class Composer(Struct, frozen=True, kw_only=True):
    """Everything the form's page shows of the form itself."""

    form: Form
    errors: dict[str, str]
    summary: list[tuple[str, str]]
    """(anchor, sentence) for every error."""
    rows: list[StepRow]
    inputs: list[Form]
    undeclared: list[str]
    """Names used in prompts that no input declares yet."""
    lists: list[Form]
    changes: diff.Changes | None
    recipe: steps.Recipe
    writes: bool
    """Whether the site has a model that writes texts."""


def compose(
    form: Mapping[str, str],
    models: Mapping[str, Collection[ModelChoice]],
    errors: Mapping[str, str] | None = None,
    parent: steps.Recipe | None = None,
    seen: Mapping[str, str] | None = None,
    made: Mapping[int, str] | None = None,
    agreed: Mapping[str, datetime] | None = None,
) -> Composer:
    """Lay the form out for the page. Errors are shown only when given, of files only those in `seen`, which has
    the peaks of sounds; `made` is a picture of each step, by its number, for masks to be painted over; `agreed` says
    when the reader agreed to samples of voices, by their SHA-256."""
    typed = _with_models(form, models)
    composed = read(
        upscaler_help.trimmed(typed, models),
        {kind: [choice.name for choice in found] for kind, found in models.items()},
    )
    changes = diff.changes(parent, composed.recipe) if parent is not None else None
    rows = _rows(typed, "s")
    unknown = _unknown(rows, models, composed.recipe)
    shown = dict(errors or {})
    return Composer(
        form=typed,
        errors=shown,
        summary=[(_anchor(key, typed), _sentence(key, words, rows)) for key, words in shown.items()],
        rows=[
            _step_row(number, step, rows, models, shown, unknown, parent, changes, seen or {}, made or {}, agreed or {})
            for number, step in enumerate(composed.recipe.steps, 1)
        ],
        inputs=_rows(typed, "i"),
        undeclared=undeclared(typed),
        lists=_rows(typed, "l"),
        changes=changes,
        recipe=composed.recipe,
        writes=bool(models.get("text_to_text")),
    )


def _with_models(form: Mapping[str, str], models: Mapping[str, Collection[ModelChoice]]) -> Form:
    """The form, with another model and the values that suit it where a kind's usual one is not on this site."""
    typed = dict(form)
    for number, row in enumerate(_rows(form, "s"), 1):
        offered = list(models.get(row.get("kind", ""), ()))
        usual = {field.name: as_typed(field.default) for field in steps.fields_of(row["kind"])} if offered else {}
        if offered and usual["model"] and row.get("model") == usual["model"] not in [choice.name for choice in offered]:
            typed = suited(typed, number, {row["kind"]: offered[:1]})
    return typed


def _needs_model(kind: str) -> bool:
    return any(field.name == "model" and field.default for field in steps.fields_of(kind))


def _unknown(
    rows: Sequence[Form], models: Mapping[str, Collection[ModelChoice]], recipe: steps.Recipe
) -> dict[str, Unknown]:
    """By field, for prompts and templates that a model of few words reads: what it does not know. All that it knows
    is told once a step."""
    choices = {choice.name: choice for offered in models.values() for choice in offered}
    inputs = {one.name: [one.default, *one.choices] for one in recipe.inputs}
    found: dict[str, Unknown] = {}
    reader = ""  # the model of the next step that draws the text of the step before
    for number, row in reversed(list(enumerate(rows, 1))):
        fields: tuple[str, ...] = ("prompt", "negative_prompt")
        model = row.get("model", "")
        if "{text}" in row.get("prompt", ""):
            reader = model
        if row.get("kind") == "prompt_template":
            fields, model = ("template",), reader
        if model not in choices or not vocabulary.prompts(choices[model].words):
            continue
        for field in set(fields) & set(_OWN.get(row.get("kind", ""), ())):
            pieces = vocabulary.texts(row.get(field, ""), inputs, recipe.lists)
            texts, own = lora_help.read(row.get(field, ""), pieces, models.get(LORA, ()))
            called = [(vocabulary.TRIGGER, _split(choices[model].trigger))] if choices[model].trigger else []
            known = choices[model].words + called + own
            words = vocabulary.unknown(texts, known)
            found[f"s{number}-{field}"] = Unknown(model, words, known if field != "negative_prompt" else [])
    return found


def _split(phrases: Collection[str]) -> list[str]:
    return [word for phrase in phrases for word in phrase.lower().split()]


def _step_row(
    number: int,
    step: steps.AnyStep,
    rows: list[Form],
    models: Mapping[str, Collection[ModelChoice]],
    errors: Mapping[str, str],
    unknown: Mapping[str, Unknown],
    parent: steps.Recipe | None,
    changes: diff.Changes | None,
    seen: Mapping[str, str],
    made: Mapping[int, str],
    agreed: Mapping[str, datetime],
) -> StepRow:
    row = rows[number - 1]
    kind = row["kind"] if row["kind"] in steps.KINDS else "text_to_image"
    chosen = next((choice for choice in models.get(kind, ()) if choice.name == row.get("model")), None)
    change = next((step for step in changes.steps if step.after == number), None) if changes else None
    before = _typed(parent.steps[change.before - 1]) if parent and change and change.before else {}
    hidden = upscaler_help.hidden(row, models.get(kind, ())) | vae_help.hidden(row, models)
    named = [
        (
            field,
            _control(field, number, rows, _offered(field, kind, models), errors, unknown, before, change, seen, made),
        )
        for field in steps.fields_of(kind)
        if field.name not in hidden
    ]
    named = [
        (field, control)
        for field, control in named
        if control.error or not voice_help.hidden(kind, field.name, control.value, models)
    ]
    takes = steps.KINDS[kind].takes is not None
    rare = [field.name for field, _ in named if field.name in RARE or (field.name == "source" and not takes)]
    more = [control for field, control in named if field.name in rare]
    used = any(control.error or control.value != as_typed(field.default) for field, control in named if control in more)
    return StepRow(
        number=number,
        kind=kind,
        label=row.get("title", "").strip()[:80] or steps.KINDS[kind].label,
        medium=step.made,
        changed=_changed(row, change),
        errors=sum(key.startswith(f"s{number}-") for key in errors),
        prompts=[control for field, control in named if field.widget == "prompt" and field.name not in rare],
        files=[control for field, control in named if field.name in steps.FILES],
        params=[
            control for field, control in named if field.widget != "prompt" and field.name not in (*steps.FILES, *rare)
        ],
        more=more,
        more_open=used,
        tick=voice_help.tick(number, row, agreed, errors) if SAMPLE in models or row.get("upload") else None,
        model=row.get("model", ""),
        trigger=chosen.trigger if chosen else [],
        suits=defaults.titled(_unlike(row, kind, chosen, models.get(kind, ()))) if chosen else [],
    )


def _changed(row: Mapping[str, str], change: diff.StepChange | None) -> str:
    return change.op if change is not None and change.op in ("changed", "moved", "added") else ""


def _offered(field: steps.Field, kind: str, models: Mapping[str, Collection[ModelChoice]]) -> list[ModelChoice]:
    """The models that the field is about: a prompt's LoRAs, VAEs, else those of the kind."""
    if field.widget == "prompt":
        return list(models.get(LORA, ())) if lora_help.takes(kind, field.name) else []
    return vae_help.offered(kind, models) if field.widget == "vae" else list(models.get(kind, ()))


def _control(
    field: steps.Field,
    number: int,
    rows: list[Form],
    models: list[ModelChoice],
    errors: Mapping[str, str],
    unknown: Mapping[str, Unknown],
    before: Mapping[str, str],
    change: diff.StepChange | None,
    seen: Mapping[str, str],
    made: Mapping[int, str],
) -> Control:
    key = f"s{number}-{field.name}"
    value = rows[number - 1].get(field.name, as_typed(field.default))
    was = before.get(field.name, value)
    prompt = field.widget == "prompt"
    kind = rows[number - 1].get("kind", "")
    return Control(
        key=key,
        title=field.title,
        help=field.help,
        widget=field.widget,
        value=value,
        picture=value if value in seen else "",
        peaks=seen.get(value, ""),
        behind=made.get(_source(rows, number), "") if field.widget == "mask" else "",
        error=errors.get(key, ""),
        was="" if prompt or was == value else was or "empty",
        tokens=_tokens(field.name, was, value, change) if prompt and was != value else [],
        unknown=unknown.get(key),
        choices=_choices(field, number, rows, models, value),
        placeholder=field.placeholder,
        max_length=field.max_length,
        lines=min(max(3, value.count("\n") + len(value) // 55 + 1), 14),
        part=upscaler_help.part(kind, field.name),
        parts=upscaler_help.parts(models) if upscaler_help.offers(kind, field.name) else {},
    )


def _tokens(name: str, was: str, value: str, change: diff.StepChange | None) -> list[diff.Token]:
    """The difference as it was counted already; of a step that cannot be read, the two as wholes."""
    found = [one.tokens for one in change.prompts if one.name == name] if change else []
    if found and "".join(token.text for token in found[0] if token.op != "removed") == value:
        return found[0]
    return diff.words(was, value, diff.Work(0))


def _choices(
    field: steps.Field, number: int, rows: list[Form], models: list[ModelChoice], value: str
) -> list[tuple[str, str]]:
    if field.widget == "model":
        names = [choice.name for choice in models]
        none = [("", field.empty)] if field.empty else []
        lost = f"{value} (gone)" if names or none else "None on this site"
        gone = [(value, lost)] if value and value not in names else []
        return [*none, *gone, *((name, name) for name in names)]
    if field.widget == "prompt":
        return lora_help.choices(models)
    if field.widget == "vae":
        return vae_help.choices(models, value, field.empty)
    if field.widget == "class":
        return class_labels.choices(models, value)
    if field.widget == "voice":
        return voice_help.choices(models, value)
    if field.widget == "source":
        earlier = [(str(n), f"Step {n}, {_label(rows[n - 1])}") for n in range(1, number)]
        late = [(value, f"Step {value}")] if value and value not in [name for name, _ in earlier] else []
        first = ("", "Step before" if number > 1 and field.name == "source" else "Nothing")
        return [first, *earlier, *late]
    return [(str(choice), str(choice).removesuffix("Scheduler")) for choice in field.choices]


def _source(rows: list[Form], number: int) -> int:
    """The step that this one takes its pictures from, 0 for none."""
    named = rows[number - 1].get("source", "")
    return int(named) if is_number(named) else number - 1


def _label(row: Mapping[str, str]) -> str:
    kind = steps.KINDS.get(row.get("kind", ""))
    return row.get("title", "").strip() or (kind.label.lower() if kind else "unknown")


def _anchor(key: str, form: Mapping[str, str]) -> str:
    """The id to jump to: the field's, or the part of the page that the error is about."""
    match = re.fullmatch(r"s(\d+)-(\w+)", key)
    kind = form.get(f"s{match.group(1)}-kind", "") if match else ""
    drawn = kind in steps.KINDS and match is not None and match.group(2) in [f.name for f in steps.fields_of(kind)]
    ticked = kind == voice_help.KIND and match is not None and match.group(2) == voice_help.FIELD
    if drawn or ticked or key in DETAILS or (key in form and key[0] in "il"):
        return key
    if match is not None and 1 <= int(match.group(1)) <= len(_rows(form, "s")):
        return f"step-{match.group(1)}"
    return {"i": "inputs", "l": "lists"}.get(key[0], "steps") if key not in ("inputs", "lists") else key


def _sentence(key: str, words: str, rows: list[Form]) -> str:
    """An error as a line of the summary: where, then what to do."""
    match = re.fullmatch(r"([sil])(\d+)-(\w+)", key)
    if match is None:
        return words if key in ("steps", "inputs", "lists", "key") else f"{key.capitalize()}: {words}"
    letter, number, name = match.groups()
    place = {"s": "Step", "i": "Input", "l": "List"}[letter]
    title = name
    if letter == "s" and int(number) <= len(rows):
        fields = steps.fields_of(rows[int(number) - 1]["kind"]) if rows[int(number) - 1]["kind"] in steps.KINDS else ()
        title = next((field.title for field in fields if field.name == name), name).lower()
    return f"{place} {number}, {title}: {words}"


KIND_CHOICES = [(name, kind.label) for name, kind in steps.KINDS.items()]
VISIBILITY_CHOICES = list(VISIBILITIES.items())
LICENSE_CHOICES = [(entry.id, entry.name) for entry in licenses.LICENSES.values()]
INPUT_KINDS = [("text", "Text"), ("long", "Long text"), ("number", "Number"), ("choice", "Choice")]
