"""Step kinds as typed structs, and the recipe (inputs, lists, steps) that a version holds.

A struct's annotations give its bounds, titles and help: validation, JSON and the composer's
forms all come from them. A new kind is a struct here, a file in `tasks/steps/` and a line in
`RUNNERS`, unless a person does it. New fields need defaults, so that old versions decode forever.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from domain import clock, emphasis, loras, upscalers
from domain.errors import Invalid

MAX_STEPS = 20
MAX_INPUTS = 20
MAX_LISTS = 20
MAX_LIST_ITEMS = 500
MAX_TEXT = 10_000
MAX_SHORT, MAX_LONG = 2_000, 20_000
"""Characters of an input of one line, and of one of many."""
MAX_SEED = 2**32 - 1

Medium = Literal["text", "image", "animation", "mesh", "audio"]
Queue = Literal["light", "image", "text", "audio", "mesh"]

Scheduler = Literal[
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
]
SCHEDULERS: tuple[str, ...] = get_args(Scheduler)
DISTILLED = {"LCMScheduler": 50, "TCDScheduler": 50}
"""Schedulers of models that were distilled to few passes, with the most that they take."""
MODELS = ("model", "vae")
"""Fields that name a model which the step is run with."""
SOURCES = ("source", "also", "voice_of")
"""Fields that name an earlier step whose output comes in."""
VIDEO = "StableVideoDiffusionPipeline"
"""The class of models that start from a picture and nothing else."""
REDRAWING = ("StableDiffusionPipeline", "AnimateDiffPipeline", "AnimateDiffVideoToVideoPipeline")
"""The classes of those that set a picture in motion by redrawing it."""
MOVING = ("gif", "webp", "mp4")
"""Layouts that show pictures one after the other."""
FILES = ("upload", "mask")
"""Fields that name a file of a person's by its SHA-256."""


_FILLED = (
    "{name} puts in an input, {red|blue} picks one by the seed, __colors__ draws from a list, "
    "{text} is the text of the step before."
)
"""How a prompt is filled, as its help says."""
_WEIGHED = "(red:1.3) counts more than the other words, (red:0.7) less."


def _widget(widget: str) -> dict[str, str]:
    return {"widget": widget}


Prompt = Annotated[
    str,
    Meta(
        max_length=MAX_TEXT,
        title="Prompt",
        description=f"What to draw. {_FILLED} {_WEIGHED}",
        extra_json_schema=_widget("prompt"),
    ),
]
NegativePrompt = Annotated[
    str,
    Meta(
        max_length=MAX_TEXT,
        title="Negative prompt",
        description="What to keep out of the picture.",
        extra_json_schema=_widget("prompt"),
    ),
]
ModelName = Annotated[
    str,
    Meta(min_length=1, max_length=80, title="Model", extra_json_schema=_widget("model")),
]
Side = Annotated[int, Meta(ge=64, le=2048, multiple_of=8)]
Seed = Annotated[
    Annotated[int, Meta(ge=0, le=MAX_SEED)] | None,
    Meta(
        title="Seed",
        description="Empty: the run's own seed. The same seed and parameters give the same picture.",
        extra_json_schema={"placeholder": "the run’s"},
    ),
]
InferenceSteps = Annotated[
    int, Meta(ge=1, le=150, title="Sampling steps", description="More steps take longer and change less each.")
]
GuidanceScale = Annotated[
    float,
    Meta(ge=0, le=30, title="Guidance", description="How closely to follow the prompt. 0 or 1 turns it off."),
]
Pictures = Annotated[int, Meta(ge=1, le=8, title="Pictures", description="Seeds count up from the first.")]
Strength = Annotated[
    float, Meta(gt=0, le=1, title="Strength", description="0.1 barely touches the picture, 1 repaints it.")
]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Moment = Annotated[float, Meta(ge=0, le=3_600)]
"""Seconds from the beginning of a sound, typed as `domain/clock.py` reads them."""
Upload = Annotated[
    Sha256 | None,
    Meta(
        title="Picture",
        description="Instead of an earlier step's output. PNG, JPEG, WebP or GIF.",
        extra_json_schema=_widget("upload"),
    ),
]
Vae = Annotated[
    str,
    Meta(
        max_length=80,
        title="Decoder",
        description="The VAE that makes the picture of what was drawn. The model's own, or another that fits it.",
        extra_json_schema=_widget("vae") | {"empty": "Its own"},
    ),
]
SchedulerField = Annotated[Scheduler, Meta(title="Scheduler")]


class Step(Struct, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """One model call. Takes the previous step's output unless `source` names an earlier step."""

    label: ClassVar[str]
    """What the page calls the kind."""
    queue: ClassVar[Queue]
    takes: ClassVar[Medium | None] = None
    """The medium this kind needs from an earlier step or an upload."""
    gives: ClassVar[Medium]
    """The medium that comes out; `made` says it of a step whose parameters decide."""
    code: ClassVar[int] = 1
    """Version of the code that runs the kind: raise it when equal parameters give another result."""
    together: ClassVar[bool] = False
    """Whether alike steps of several runs can be one call. For kinds whose model takes many pictures at once."""
    usual: ClassVar[Mapping[str, Any]] = {}
    """What is taken where a field is left empty."""
    later: ClassVar[frozenset[str]] = frozenset()
    """Fields that older versions do not have: at their default they are no part of what a version is."""
    asks: ClassVar[bool] = False
    """Whether whoever started the run does it: then no worker runs it, and the run waits for them."""

    title: Annotated[
        str,
        Meta(max_length=80, title="Name", description="Shown instead of the kind.", extra_json_schema=_widget("title")),
    ] = ""
    source: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_STEPS)] | None,
        Meta(title="Takes the output of", extra_json_schema=_widget("source")),
    ] = None

    @property
    def made(self) -> Medium:
        """The medium that this step gives."""
        return self.gives

    @property
    def runs_on(self) -> Queue:
        """The queue of this step; `queue` is its kind's, where its parameters do not decide."""
        return self.queue

    @classmethod
    def queues(cls) -> set[Queue]:
        """Every queue that steps of this kind may be in."""
        return {cls.queue}

    @property
    def moot(self) -> frozenset[str]:
        """Parameters that make no difference as the others are."""
        return frozenset()

    def unused(self, family: str) -> frozenset[str]:
        """Parameters that a model of this family, "" for none, does not take, and `later` ones that are left empty:
        nothing tells of them."""
        return frozenset(name for name in self.later if not getattr(self, name))


class PromptTemplate(Step, tag="prompt_template"):
    """Fills a template: variables, alternatives chosen by the seed, draws from the lists."""

    label = "Write the prompt"
    queue = "light"
    gives = "text"

    template: Annotated[
        str,
        Meta(
            max_length=MAX_TEXT,
            title="Template",
            description=_FILLED,
            extra_json_schema=_widget("prompt"),
        ),
    ] = ""


class TextToText(Step, tag="text_to_text"):
    """Writes a text with a language model of transformers, from what it is told and asked."""

    label = "Write"
    queue = "text"
    gives = "text"

    system: Annotated[
        str,
        Meta(
            max_length=MAX_TEXT,
            title="Told beforehand",
            description="Who the model is to be and how it is to write. Not every model listens.",
            extra_json_schema=_widget("prompt"),
        ),
    ] = ""
    prompt: Annotated[
        str,
        Meta(
            max_length=MAX_TEXT,
            title="Prompt",
            description=f"What to write. {_FILLED}",
            extra_json_schema=_widget("prompt"),
        ),
    ] = ""
    model: ModelName = "text"
    max_new_tokens: Annotated[
        int, Meta(ge=1, le=8_000, title="At most", description="Tokens, which are words or parts of words.")
    ] = 400
    temperature: Annotated[
        float,
        Meta(ge=0, le=2, title="Temperature", description="0 always takes the likeliest word, 1 and more surprises."),
    ] = 0.7
    top_p: Annotated[
        float, Meta(gt=0, le=1, title="Top p", description="Of the likeliest words, those that together are so likely.")
    ] = 0.95
    stop: Annotated[
        str,
        Meta(
            max_length=400,
            title="Stop at",
            description="The text ends before any of these, with | between them; \\n is a line's end.",
        ),
    ] = ""
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_SEED)] | None,
        Meta(
            title="Seed",
            description="Empty: the run's own seed. The same seed and parameters give the same text.",
            extra_json_schema={"placeholder": "the run’s"},
        ),
    ] = None

    @property
    def moot(self) -> frozenset[str]:
        """Where the likeliest word is always taken, chance has no part."""
        return frozenset({"top_p", "seed"}) if self.temperature == 0 else frozenset()


class TextToSpeech(Step, tag="text_to_speech"):
    """Speaks a text with a speech model of transformers."""

    label = "Speak"
    queue = "audio"
    gives = "audio"

    prompt: Annotated[
        str,
        Meta(
            max_length=MAX_TEXT,
            title="Text",
            description=f"What to say, in the language of the model. {_FILLED}",
            extra_json_schema=_widget("prompt"),
        ),
    ] = ""
    model: ModelName = "speech"
    voice: Annotated[
        str,
        Meta(
            max_length=80,
            title="Voice",
            description="One of the model's own voices, by its name or its number. Empty: the first.",
            extra_json_schema={"placeholder": "the first", **_widget("voice")},
        ),
    ] = ""
    upload: Annotated[
        Sha256 | None,
        Meta(
            title="Sample of a voice",
            description="1 to 30 seconds of one person who speaks, instead of a voice of the model. "
            "WAV, MP3, FLAC, Ogg, M4A, MP4 or WebM.",
            extra_json_schema=_widget("sound"),
        ),
    ] = None
    voice_of: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_STEPS)] | None,
        Meta(
            title="Voice of",
            description="An earlier step that speaks: what it says is the sample.",
            extra_json_schema=_widget("source"),
        ),
    ] = None
    speed: Annotated[float, Meta(ge=0.25, le=4, title="Speed", description="2 speaks twice as fast.")] = 1.0
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_SEED)] | None,
        Meta(
            title="Seed",
            description="Empty: the run's own seed. The same seed and parameters give the same sound.",
            extra_json_schema={"placeholder": "the run’s"},
        ),
    ] = None


class SpeechToText(Step, tag="speech_to_text"):
    """Writes down what is said in a sound, from an earlier step or an upload, with a Whisper model of transformers."""

    label = "Write down"
    queue = "audio"
    takes = "audio"
    gives = "text"
    later = frozenset({"start", "end"})
    code = 2

    upload: Annotated[
        Sha256 | None,
        Meta(
            title="Sound or video",
            description="Instead of an earlier step's output. WAV, MP3, FLAC, Ogg, M4A, MP4 or WebM.",
            extra_json_schema=_widget("sound"),
        ),
    ] = None
    start: Annotated[
        Moment | None,
        Meta(
            title="Hear from",
            description="Seconds, or minutes and seconds such as 1:30. Empty: from the beginning.",
            extra_json_schema={"placeholder": "0:00", **_widget("clock")},
        ),
    ] = None
    end: Annotated[
        Moment | None,
        Meta(
            title="Hear up to",
            description="The same. Empty: to the end.",
            extra_json_schema={"placeholder": "the end", **_widget("clock")},
        ),
    ] = None
    model: ModelName = "whisper"
    language: Annotated[
        str,
        Meta(
            max_length=40,
            title="Language",
            description="What is spoken, such as en or ukrainian. Empty: the model finds out.",
            extra_json_schema={"placeholder": "found out"},
        ),
    ] = ""
    task: Annotated[
        Literal["transcribe", "translate"],
        Meta(title="Task", description="Write down what is said, or translate it into English."),
    ] = "transcribe"
    layout: Annotated[
        Literal["text", "srt", "vtt"],
        Meta(title="Layout", description="The words alone, or subtitles with their times: SubRip or WebVTT."),
    ] = "text"


class TextToImage(Step, tag="text_to_image"):
    """Draws pictures from a prompt with a diffusers text-to-image pipeline."""

    label = "Draw"
    queue = "image"
    gives = "image"
    later = frozenset({"vae"})
    code = 2
    together = True

    prompt: Prompt = ""
    negative_prompt: NegativePrompt = ""
    model: ModelName = "starter"
    width: Annotated[Side, Meta(title="Width", description="Pixels, a multiple of 8.")] = 256
    height: Annotated[Side, Meta(title="Height", description="Pixels, a multiple of 8.")] = 256
    num_inference_steps: InferenceSteps = 20
    guidance_scale: GuidanceScale = 3.0
    scheduler: SchedulerField = "DDIMScheduler"
    seed: Seed = None
    num_images_per_prompt: Pictures = 1
    vae: Vae = ""


class ImageToImage(Step, tag="image_to_image"):
    """Redraws a picture, from an earlier step or an upload, toward a prompt."""

    label = "Redraw"
    queue = "image"
    takes = "image"
    gives = "image"
    later = frozenset({"vae"})
    code = 3
    together = True

    prompt: Prompt = ""
    negative_prompt: NegativePrompt = ""
    upload: Upload = None
    model: ModelName = "starter"
    strength: Strength = 0.6
    num_inference_steps: InferenceSteps = 20
    guidance_scale: GuidanceScale = 3.0
    scheduler: SchedulerField = "DDIMScheduler"
    seed: Seed = None
    num_images_per_prompt: Pictures = 1
    vae: Vae = ""


class Inpaint(Step, tag="inpaint"):
    """Repaints a part of a picture, from an earlier step or an upload, and leaves the rest as it is."""

    label = "Repaint a part"
    queue = "image"
    takes = "image"
    gives = "image"
    later = frozenset({"vae"})
    code = 2

    prompt: Prompt = ""
    negative_prompt: NegativePrompt = ""
    upload: Upload = None
    mask: Annotated[
        Sha256 | None,
        Meta(
            title="Mask",
            description="What is lighter than gray is repainted, the rest stays. "
            "It is brought to the size of the picture.",
            extra_json_schema=_widget("mask"),
        ),
    ] = None
    feather: Annotated[
        int, Meta(ge=0, le=64, title="Soft edge", description="Pixels over which the old becomes the new.")
    ] = 4
    model: ModelName = "starter"
    strength: Strength = 1.0
    num_inference_steps: InferenceSteps = 20
    guidance_scale: GuidanceScale = 3.0
    scheduler: SchedulerField = "DDIMScheduler"
    seed: Seed = None
    num_images_per_prompt: Pictures = 1
    vae: Vae = ""


Format = Annotated[
    Literal["gif", "webp", "mp4"],
    Meta(title="Format", description="A GIF of 256 colors a frame, an animated WebP, or an MP4."),
]
Loop = Annotated[
    int, Meta(ge=0, le=100, title="Repeat", description="How often a GIF or WebP plays; 0 is without end.")
]
Frames = Annotated[
    int,
    Meta(
        ge=2, le=64, title="Frames", description="Pictures of the animation. The starter knows 8, most models 16 to 32."
    ),
]
FramesPerSecond = Annotated[int, Meta(ge=1, le=30, title="Frames a second")]
Colors = Annotated[
    Literal["own", "shared", "dithered"],
    Meta(
        title="Colors of a GIF",
        description="256 of each frame's own, or 256 for all frames: less flickers, and the file is smaller. "
        "Dithered mixes them.",
    ),
]


class TextToAnimation(Step, tag="text_to_animation"):
    """Draws an animation from a prompt with an AnimateDiffPipeline of diffusers."""

    label = "Animate"
    queue = "image"
    gives = "animation"
    code = 2

    prompt: Prompt = ""
    negative_prompt: NegativePrompt = ""
    model: ModelName = "starter"
    width: Annotated[Side, Meta(title="Width", description="Pixels, a multiple of 8.")] = 256
    height: Annotated[Side, Meta(title="Height", description="Pixels, a multiple of 8.")] = 256
    frames: Frames = 8
    fps: FramesPerSecond = 8
    num_inference_steps: InferenceSteps = 20
    guidance_scale: GuidanceScale = 3.0
    scheduler: SchedulerField = "DDIMScheduler"
    seed: Seed = None
    format: Format = "webp"
    loop: Loop = 0
    colors: Colors = "shared"

    @property
    def moot(self) -> frozenset[str]:
        """What the format says nothing of."""
        return _moot_of(self.format)


class ImageToAnimation(Step, tag="image_to_animation"):
    """Sets each picture of an earlier step, or an upload, in motion: toward a prompt with an
    AnimateDiffVideoToVideoPipeline, or by itself with a StableVideoDiffusionPipeline."""

    label = "Set in motion"
    queue = "image"
    takes = "image"
    gives = "animation"
    code = 2

    prompt: Prompt = ""
    negative_prompt: NegativePrompt = ""
    upload: Upload = None
    model: ModelName = "starter"
    longest_side: Annotated[
        int,
        Meta(ge=64, le=1024, multiple_of=8, title="Longest side", description="Pixels that the picture is brought to."),
    ] = 256
    frames: Frames = 8
    fps: FramesPerSecond = 8
    strength: Strength = 0.8
    motion_bucket_id: Annotated[
        int,
        Meta(ge=1, le=255, title="Motion", description="How much moves, with models of Stable Video Diffusion alone."),
    ] = 127
    num_inference_steps: InferenceSteps = 20
    guidance_scale: GuidanceScale = 3.0
    scheduler: SchedulerField = "DDIMScheduler"
    seed: Seed = None
    format: Format = "webp"
    loop: Loop = 0
    colors: Colors = "shared"

    @property
    def moot(self) -> frozenset[str]:
        """As that of an animation from a prompt."""
        return _moot_of(self.format)

    def unused(self, family: str) -> frozenset[str]:
        """Stable Video Diffusion hears no prompt, and the others do not ask how much is to move."""
        if family == VIDEO:
            return frozenset({"prompt", "negative_prompt", "strength", "scheduler"})
        return frozenset({"motion_bucket_id"}) if family in REDRAWING else frozenset()


def _moot_of(format: str) -> frozenset[str]:
    """Colors are chosen for a GIF alone, and how often an MP4 plays is up to the player."""
    return {"gif": frozenset[str](), "webp": frozenset({"colors"})}.get(format, frozenset({"colors", "loop"}))


PICTURING = (TextToImage, ImageToImage, Inpaint)
"""Kinds that draw pictures, and can take another VAE than their model's."""
DRAWING = (*PICTURING, TextToAnimation, ImageToAnimation)
"""Kinds that draw toward a prompt with a scheduler, whose words can have weights, and with LoRAs."""
MOST_PIXELS = 16 * 1024**2
"""Of all frames of an animation that a model draws: they are in memory at once, and written by one core."""


class GanImage(Step, tag="gan_image"):
    """Generates pictures of a class with a generator that was trained on such pictures, or a walk between them."""

    label = "Generate"
    queue = "image"
    gives = "image"
    later = frozenset({"colors", "detail_seed"})

    model: ModelName = "shapes-gan"
    class_label: Annotated[
        str,
        Meta(
            max_length=200,
            title="Class",
            description="What the pictures show, of what the model was trained on. Empty: each seed its own.",
            extra_json_schema=_widget("class"),
        ),
    ] = ""
    seed: Seed = None
    num_images: Annotated[
        int,
        Meta(ge=1, le=8, title="Pictures", description="Seeds count up from the first. A walk passes through each."),
    ] = 4
    truncation: Annotated[
        float, Meta(ge=0, le=1, title="Variety", description="1 is all that was learned, 0 the average of the class.")
    ] = 0.8
    factor: Annotated[
        Literal[1, 2, 4], Meta(title="Enlarge", description="How many times wider and higher than the model draws.")
    ] = 4
    layout: Annotated[
        Literal["pictures", "walk"],
        Meta(title="As", description="Pictures, or a walk from each to the next and back to the first: an animation."),
    ] = "pictures"
    frames: Annotated[int, Meta(ge=8, le=160, title="Frames", description="Of the whole walk.")] = 48
    frame_ms: Annotated[
        int, Meta(ge=20, le=1_000, title="Each for", description="Milliseconds that each frame of a walk is shown.")
    ] = 80
    format: Annotated[
        Literal["gif", "webp", "mp4"],
        Meta(title="Format", description="Of a walk: a GIF of 256 colors a frame, an animated WebP, or an MP4."),
    ] = "gif"
    loop: Loop = 0
    colors: Colors = "own"
    detail_seed: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_SEED)] | None,
        Meta(
            title="Details of seed",
            description="Draws shapes by the pictures' own seeds, and their details as this seed has them.",
            extra_json_schema={"placeholder": "their own"},
        ),
    ] = None

    @property
    def made(self) -> Medium:
        """An animation, for a walk."""
        return "animation" if self.layout == "walk" else "image"

    @property
    def moot(self) -> frozenset[str]:
        """What tells how a walk is shown says nothing of pictures."""
        if self.layout == "pictures":
            return frozenset({"frames", "frame_ms", "format", "loop", "colors"})
        return _moot_of(self.format)


FrameSize = Annotated[
    int,
    Meta(
        ge=32,
        le=512,
        multiple_of=32,
        title="Size of the views",
        description="Pixels of each of the eight pictures around it. Twice as many take four times as long.",
    ),
]
GridSize = Annotated[
    int,
    Meta(ge=32, le=128, title="Detail", description="Cubes along each side in which the surface is looked for."),
]
MeshSeed = Annotated[
    Annotated[int, Meta(ge=0, le=MAX_SEED)] | None,
    Meta(
        title="Seed",
        description="Empty: the run's own seed. The same seed and parameters give the same object.",
        extra_json_schema={"placeholder": "the run’s"},
    ),
]


class TextTo3D(Step, tag="text_to_3d"):
    """Makes a 3D object from a prompt with a ShapEPipeline of diffusers."""

    label = "Sculpt"
    queue = "mesh"
    gives = "mesh"

    prompt: Annotated[
        str,
        Meta(
            max_length=MAX_TEXT,
            title="Prompt",
            description=f"What to make. {_FILLED}",
            extra_json_schema=_widget("prompt"),
        ),
    ] = ""
    model: ModelName = "shap-e"
    num_inference_steps: InferenceSteps = 64
    guidance_scale: GuidanceScale = 15.0
    frame_size: FrameSize = 256
    grid_size: GridSize = 128
    seed: MeshSeed = None


class ImageTo3D(Step, tag="image_to_3d"):
    """Makes a 3D object of each picture of an earlier step, or of an upload, with a ShapEImg2ImgPipeline."""

    label = "Sculpt from a picture"
    queue = "mesh"
    takes = "image"
    gives = "mesh"

    upload: Upload = None
    model: ModelName = "shap-e-img2img"
    num_inference_steps: InferenceSteps = 64
    guidance_scale: GuidanceScale = 3.0
    frame_size: FrameSize = 256
    grid_size: GridSize = 128
    seed: MeshSeed = None


class Upscale(Step, tag="upscale"):
    """Enlarges every picture of an earlier step, by resampling or with a model."""

    label = "Enlarge"
    queue = "light"
    takes = "image"
    gives = "image"
    usual = upscalers.USUAL
    later = upscalers.LATER

    factor: Annotated[Literal[2, 4], Meta(title="Factor")] = 2
    model: Annotated[
        str,
        Meta(
            max_length=80,
            title="Model",
            description="A model adds detail that resampling cannot. One whose own factor is larger draws at that, and "
            "the result is reduced.",
            extra_json_schema=_widget("model") | {"empty": "Resampling"},
        ),
    ] = ""
    prompt: Annotated[
        str,
        Meta(
            max_length=MAX_TEXT,
            title="Prompt",
            description=f"What the picture shows. {_FILLED}",
            extra_json_schema=_widget("prompt"),
        ),
    ] = ""
    negative_prompt: NegativePrompt = ""
    num_inference_steps: Annotated[
        Annotated[int, Meta(ge=1, le=150)] | None,
        Meta(
            title="Sampling steps",
            description="More steps take longer and change less each. "
            f"Empty: {upscalers.USUAL['num_inference_steps']}.",
            extra_json_schema={"placeholder": str(upscalers.USUAL["num_inference_steps"])},
        ),
    ] = None
    guidance_scale: Annotated[
        Annotated[float, Meta(ge=0, le=30)] | None,
        Meta(
            title="Guidance",
            description="How closely to follow the prompt. 0 or 1 turns it off. "
            f"Empty: {upscalers.USUAL['guidance_scale']:g}.",
            extra_json_schema={"placeholder": f"{upscalers.USUAL['guidance_scale']:g}"},
        ),
    ] = None
    noise_level: Annotated[
        Annotated[int, Meta(ge=0, le=350)] | None,
        Meta(
            title="Noise level",
            description="How much of the picture is made up anew: 0 keeps its faults. "
            f"Empty: {upscalers.USUAL['noise_level']}.",
            extra_json_schema={"placeholder": str(upscalers.USUAL["noise_level"])},
        ),
    ] = None
    seed: Seed = None
    method: Annotated[
        Literal["lanczos", "bicubic"], Meta(title="Method", description="The filter where no model enlarges.")
    ] = "lanczos"
    sharpen: Annotated[float, Meta(ge=0, le=1, title="Sharpen", description="0 leaves edges as they are.")] = 0.0

    @property
    def runs_on(self) -> Queue:
        """Where models of pictures run, with one."""
        return "image" if self.model else self.queue

    @classmethod
    def queues(cls) -> set[Queue]:
        """Both of them."""
        return {cls.queue, "image"}

    def unused(self, family: str) -> frozenset[str]:
        """What the model's family does not take; resampling takes nothing of models."""
        return upscalers.unused((family or "unknown") if self.model else "")


class Join(Step, tag="join"):
    """Puts the pictures of one or two earlier steps together: in a grid, side by side, or one after the other."""

    label = "Join"
    queue = "light"
    takes = "image"
    gives = "image"
    later = frozenset({"colors"})

    also: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_STEPS)] | None,
        Meta(title="And of", description="Its pictures come after the others.", extra_json_schema=_widget("source")),
    ] = None
    layout: Annotated[
        Literal["grid", "row", "column", "gif", "webp", "mp4"],
        Meta(
            title="Layout",
            description="A grid, side by side, one below the other, or one after the other: as a GIF of 256 colors a "
            "picture, an animated WebP, or an MP4 that players stop and go on with.",
        ),
    ] = "grid"
    columns: Annotated[
        Annotated[int, Meta(ge=1, le=8)] | None,
        Meta(
            title="Columns",
            description="Of a grid. Empty: as square as it gets.",
            extra_json_schema={"placeholder": "auto"},
        ),
    ] = None
    gap: Annotated[int, Meta(ge=0, le=64, title="Gap", description="Pixels of white between the pictures.")] = 8
    frame_ms: Annotated[
        int, Meta(ge=20, le=10_000, title="Each for", description="Milliseconds that each picture is shown.")
    ] = 500
    loop: Annotated[int, Meta(ge=0, le=100, title="Repeat", description="How often it plays; 0 is without end.")] = 0
    colors: Colors = "own"

    @property
    def made(self) -> Medium:
        """An animation, where the pictures come one after the other."""
        return "animation" if self.layout in MOVING else "image"

    @property
    def moot(self) -> frozenset[str]:
        """What lays out a sheet says nothing of an animation, and the other way round; only a grid has columns."""
        if self.layout in MOVING:
            return frozenset({"columns", "gap"}) | _moot_of(self.layout)
        return frozenset({"frame_ms", "loop", "colors"} | ({"columns"} if self.layout != "grid" else set()))


class Pick(Step, tag="pick"):
    """Lets whoever started the run choose which pictures of an earlier step go on. No machine waits meanwhile."""

    label = "Choose"
    queue = "light"
    takes = "image"
    gives = "image"
    asks = True

    most: Annotated[
        int,
        Meta(ge=1, le=8, title="At most", description="How many pictures may go on. The run waits until you chose."),
    ] = 1


AnyStep = (
    PromptTemplate
    | TextToText
    | TextToSpeech
    | SpeechToText
    | TextToImage
    | ImageToImage
    | Inpaint
    | GanImage
    | TextToAnimation
    | ImageToAnimation
    | TextTo3D
    | ImageTo3D
    | Upscale
    | Join
    | Pick
)
KINDS: dict[str, type[Step]] = {
    "prompt_template": PromptTemplate,
    "text_to_text": TextToText,
    "text_to_speech": TextToSpeech,
    "speech_to_text": SpeechToText,
    "text_to_image": TextToImage,
    "image_to_image": ImageToImage,
    "inpaint": Inpaint,
    "gan_image": GanImage,
    "text_to_animation": TextToAnimation,
    "image_to_animation": ImageToAnimation,
    "text_to_3d": TextTo3D,
    "image_to_3d": ImageTo3D,
    "upscale": Upscale,
    "join": Join,
    "pick": Pick,
}


def medium_of(step: Mapping[str, Any]) -> Medium:
    """What a stored step gives, also one of a kind or with a field that this version no longer knows."""
    try:
        known: Step = msgspec.convert(step, AnyStep)
        return known.made
    except msgspec.ValidationError:
        kind = KINDS.get(step.get("kind", ""))
        return kind.gives if kind else "image"


def asks(kind: str) -> bool:
    """Whether steps of this kind wait for a person."""
    return kind in KINDS and KINDS[kind].asks


def files(step: Step) -> list[tuple[str, str]]:
    """The files of people's that a step names: the field, and the SHA-256."""
    named = [(name, getattr(step, name, None)) for name in FILES]
    return [(name, sha256) for name, sha256 in named if sha256]


def sounds(*recipes: "Recipe") -> list[str]:
    """The SHA-256 of every uploaded sound that the recipes name."""
    named = [(step, field, sha256) for recipe in recipes for step in recipe.steps for field, sha256 in files(step)]
    return [sha256 for step, field, sha256 in named if taken_by(type(step), field) == "audio"]


def taken_by(kind: type[Step], field: str) -> Medium | None:
    """What a field that names a file takes: what its kind does; a mask is a picture, a sample of a voice a sound."""
    if kind is TextToSpeech:
        return "audio"
    return kind.takes if field == "upload" else "image"


def kind_of(step: Step) -> str:
    """The kind's name as URLs, JSON and the database spell it."""
    return str(type(step).__struct_config__.tag)


class Input(Struct, kw_only=True, forbid_unknown_fields=True):
    """A named variable that whoever runs the pipeline may set."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$", title="Name")]
    kind: Annotated[Literal["text", "long", "number", "choice"], Meta(title="Kind")] = "text"
    default: Annotated[str, Meta(max_length=MAX_SHORT, title="Default")] = ""
    choices: Annotated[list[Annotated[str, Meta(max_length=200)]], Meta(max_length=50, title="Choices")] = []


class Recipe(Struct, kw_only=True, forbid_unknown_fields=True):
    """Everything a version fixes: inputs, wildcard lists and steps, in order."""

    inputs: list[Input] = []
    lists: dict[str, list[str]] = {}
    steps: list[AnyStep] = []


_decoder = msgspec.json.Decoder(Recipe)


def encode(recipe: Recipe) -> bytes:
    """Canonical JSON: equal recipes give equal bytes, also those saved before a field was there."""
    whole = msgspec.json.encode(recipe, order="deterministic")
    if not any(step.later for step in recipe.steps):
        return whole
    plain = msgspec.json.decode(whole)
    for step, told in zip(recipe.steps, plain["steps"], strict=True):
        for field in msgspec.structs.fields(step):
            if field.name in step.later and told[field.name] == field.default:
                del told[field.name]
    return msgspec.json.encode(plain)


def decode(data: bytes | str) -> Recipe:
    """Read a stored recipe. Raises msgspec.ValidationError for one that never was valid."""
    return _decoder.decode(data)


def convert(data: Any) -> Recipe:
    """Read a recipe from plain lists and dicts, such as a jsonb column."""
    return msgspec.convert(data, Recipe)


def digest(recipe: Recipe) -> str:
    """The recipe's content address: SHA-256 of its canonical JSON, in hex."""
    return hashlib.sha256(encode(recipe)).hexdigest()


# -- what a form needs to know of a field ---------------------------------------------------


class Field(Struct, frozen=True):
    """One parameter as a form draws it. `widget` is text, number, clock, choice, prompt, title,
    model, vae, class, voice, source, upload, sound or mask."""

    name: str
    title: str
    help: str
    widget: str
    default: Any
    minimum: float | None = None
    above: bool = False
    """Whether the minimum itself is too little."""
    maximum: float | None = None
    multiple_of: float | None = None
    whole: bool = False
    max_length: int | None = None
    choices: tuple[Any, ...] = ()
    placeholder: str = ""
    empty: str = ""
    """What no value is called, where that can be chosen among others."""


def fields_of(kind: str) -> tuple[Field, ...]:
    """The kind's own parameters in order, `title` and `source` first."""
    return _FIELDS[kind]


def _describe(kind: type[Step]) -> tuple[Field, ...]:
    return tuple(_field(field.name, field.type, field.default) for field in msgspec.structs.fields(kind))


def _field(name: str, annotation: Any, default: Any) -> Field:
    meta: dict[str, Any] = {}
    _gather(annotation, meta)
    choices = tuple(meta.get("choices", ()))
    numeric = bool(meta.get("numeric"))
    widget = meta.get("widget") or ("choice" if choices else "number" if numeric else "text")
    minimum = meta.get("ge", meta.get("gt"))
    return Field(
        name=name,
        title=meta.get("title", name),
        help=meta.get("description", ""),
        widget=widget,
        default=default,
        minimum=minimum,
        above="ge" not in meta and "gt" in meta,
        maximum=meta.get("le"),
        multiple_of=meta.get("multiple_of"),
        whole=bool(meta.get("whole")),
        max_length=meta.get("max_length"),
        choices=choices,
        placeholder=meta.get("placeholder", ""),
        empty=meta.get("empty", ""),
    )


def _gather(annotation: Any, into: dict[str, Any]) -> None:
    """Collect the Meta of an annotation and of what it wraps; the outermost word wins."""
    for item in getattr(annotation, "__metadata__", ()):
        for key in ("title", "description", "ge", "gt", "le", "multiple_of", "max_length"):
            if getattr(item, key, None) is not None:
                into.setdefault(key, getattr(item, key))
        for key, value in (item.extra_json_schema or {}).items():
            into.setdefault(key, value)
    inner = getattr(annotation, "__origin__", None) if hasattr(annotation, "__metadata__") else None
    if inner is not None:
        _gather(inner, into)
        return
    if getattr(annotation, "__origin__", None) is Literal:
        into["choices"] = get_args(annotation)
        return
    for part in get_args(annotation) or (annotation,):
        if part in (int, float):
            into["numeric"] = True
            into["whole"] = part is int
        elif part is not annotation:
            _gather(part, into)


_FIELDS = {name: _describe(kind) for name, kind in KINDS.items()}


# -- from what a person typed to a recipe -----------------------------------------------------


def parse_step(kind: str, values: Mapping[str, str], prefix: str) -> tuple[AnyStep | None, dict[str, str]]:
    """Turn a step's form fields (without their prefix) into its struct.

    Returns the step, or None with the words for every field at fault, keyed `prefix + field`.
    """
    if kind not in KINDS:
        return None, {f"{prefix}kind": f"There is no kind of step called “{kind[:40]}”"}
    parsed: dict[str, Any] = {}
    errors: dict[str, str] = {}
    types = {field.name: field.type for field in msgspec.structs.fields(KINDS[kind])}
    for field in fields_of(kind):
        if field.name not in values:
            continue
        raw = values[field.name]
        text = raw if field.widget == "prompt" else raw.strip()
        try:
            parsed[field.name] = _value(field, types[field.name], text)
        except (msgspec.ValidationError, ValueError):
            errors[prefix + field.name] = _words(field, text)
    if errors:
        return None, errors
    return msgspec.convert({"kind": kind, **parsed}, AnyStep), {}


def _value(field: Field, annotation: Any, text: str) -> Any:
    if text == "" and field.widget != "prompt":
        text_default = field.default
        return msgspec.convert(text_default, annotation)
    if field.widget == "clock":
        return msgspec.convert(clock.read(text), annotation)
    if field.widget in ("number", "source"):
        number = float(text.replace(",", ".").replace(" ", "").replace(" ", ""))
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError(text)
        if field.whole:
            if number != int(number):
                raise ValueError(text)
            return msgspec.convert(int(number), annotation)
        return msgspec.convert(number, annotation)
    if field.widget == "choice" and field.choices and isinstance(field.choices[0], int):
        return msgspec.convert(int(text), annotation)
    return msgspec.convert(text, annotation)


def _words(field: Field, text: str) -> str:
    """What to enter instead, in a few words."""
    if field.choices:
        return "Choose one of the list"
    if field.widget == "clock":
        return f"Seconds, or minutes and seconds such as 1:30, up to {clock.shown(field.maximum or 0)}"
    if field.max_length is not None and len(text) > field.max_length:
        return f"At most {field.max_length:,} characters; this has {len(text):,}"
    if field.minimum is not None and field.maximum is not None:
        low, high = _shown(field.minimum), _shown(field.maximum)
        bounds = f"More than {low}, up to {high}" if field.above else f"From {low} to {high}"
        if field.multiple_of:
            bounds += f", a multiple of {_shown(field.multiple_of)}"
        elif field.whole:
            bounds += ", without a fraction"
        return bounds
    if field.name in FILES:
        return "Choose the sound again" if field.widget == "sound" else "Choose the picture again"
    return "Enter a value"


def _shown(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) else str(bound)


_LIST_NAME = re.compile(r"^[a-z][a-z0-9_]{0,31}$")


def check(recipe: Recipe) -> dict[str, str]:
    """What is wrong with the recipe as a whole, keyed by form field (`s2-source`, `i1-name`,
    `l1-items`, `steps`); empty when it may be saved and run."""
    errors: dict[str, str] = {}
    if not recipe.steps:
        errors["steps"] = "Add a step first"
    if len(recipe.steps) > MAX_STEPS:
        errors["steps"] = f"A pipeline has at most {MAX_STEPS} steps; this has {len(recipe.steps)}"
    for number, step in enumerate(recipe.steps, 1):
        errors.update(_check_step(number, step, recipe.steps))
    errors.update(_check_inputs(recipe.inputs))
    errors.update(_check_lists(recipe.lists))
    return errors


def require(recipe: Recipe) -> None:
    """Raise Invalid unless the recipe may be saved and run."""
    errors = check(recipe)
    if errors:
        raise Invalid(errors)


def source_of(number: int, steps: Sequence[Step]) -> int | None:
    """The number of the step that step `number` takes its input from, or None for none."""
    step = steps[number - 1]
    if step.source is not None:
        return step.source
    return number - 1 if number > 1 else None


def sources_of(number: int, steps: Sequence[Step]) -> list[int]:
    """The numbers of all steps whose files step `number` takes in, in order."""
    if (voice := getattr(steps[number - 1], "voice_of", None)) is not None:
        return [voice]
    first, also = source_of(number, steps), getattr(steps[number - 1], "also", None)
    return [one for one in (first, also) if one is not None]


def _check_step(number: int, step: AnyStep, steps: Sequence[AnyStep]) -> dict[str, str]:
    prefix = f"s{number}-"
    for name in SOURCES:
        named = getattr(step, name, None)
        if named is not None and named >= number:
            return {f"{prefix}{name}": "Choose a step before this one"}
    if isinstance(step, PromptTemplate) and not step.template.strip():
        return {f"{prefix}template": "Write the template"}
    if isinstance(step, TextToImage | TextToAnimation) and not step.prompt.strip():
        return {f"{prefix}prompt": "Write what to draw"}
    if isinstance(step, TextToText) and not step.prompt.strip():
        return {f"{prefix}prompt": "Write what to write"}
    if isinstance(step, TextTo3D) and not step.prompt.strip():
        return {f"{prefix}prompt": "Write what to make"}
    if isinstance(step, TextToSpeech):
        return {f"{prefix}{name}": words for name, words in _check_voice(step, steps).items()}
    if isinstance(step, SpeechToText) and step.end is not None and step.end <= (step.start or 0):
        return {f"{prefix}end": f"Later than {clock.shown(step.start or 0)}, where it begins"}
    if isinstance(step, DRAWING):
        for name in ("prompt", "negative_prompt"):
            if fault := emphasis.fault(getattr(step, name)):
                return {f"{prefix}{name}": fault}
        if fault := loras.fault(step.prompt):
            return {f"{prefix}prompt": fault}
        if loras.named(step.negative_prompt):
            return {f"{prefix}negative_prompt": "LoRAs are asked for in the prompt; a weight below 0 turns one round"}
    if (
        isinstance(step, ImageToImage | Inpaint | ImageToAnimation)
        and int(step.num_inference_steps * step.strength) == 0
    ):
        return {f"{prefix}strength": _too_weak(step.num_inference_steps)}
    if isinstance(step, Inpaint) and not step.mask:
        return {f"{prefix}mask": "Paint what to repaint, or choose a picture of it"}
    if isinstance(step, DRAWING):
        most = DISTILLED.get(step.scheduler)
        if most is not None and step.num_inference_steps > most:
            return {f"{prefix}num_inference_steps": f"At most {most} with the {step.scheduler}"}
    if isinstance(step, TextToAnimation | ImageToAnimation) and (fault := _too_many(step)):
        return {f"{prefix}frames": fault}
    if isinstance(step, GanImage) and step.layout == "walk" and step.num_images < 2:
        return {f"{prefix}num_images": "A walk passes through 2 pictures or more"}
    if step.takes is None or getattr(step, "upload", None):
        return {}
    needed, sources = _MEDIA[step.takes], sources_of(number, steps)
    if not sources:
        return {f"{prefix}source": f"Needs {needed}, but there is no step before it"}
    if len(set(sources)) < len(sources):
        return {f"{prefix}also": f"The output of step {sources[0]} comes in already"}
    return {
        f"{prefix}{name}": f"Needs {needed}, but step {source} gives {_MEDIA[steps[source - 1].made]}"
        for name, source in zip(SOURCES, sources, strict=False)
        if steps[source - 1].made != step.takes
    }


def _check_voice(step: TextToSpeech, steps: Sequence[AnyStep]) -> dict[str, str]:
    """What is wrong with what a step says and whose voice it has: one voice at most."""
    if not step.prompt.strip():
        return {"prompt": "Write what to say"}
    if step.voice_of is not None and step.upload:
        return {"voice_of": "A sample is chosen already: choose Nothing here"}
    if step.voice_of is not None and not isinstance(steps[step.voice_of - 1], TextToSpeech):
        return {"voice_of": "Choose a step that speaks"}
    if step.voice.strip() and (step.upload or step.voice_of is not None):
        return {"voice": "The sample says whose voice it is: leave this empty, or take the sample out"}
    return {}


_MEDIA: dict[Medium, str] = {
    "text": "text",
    "image": "a picture",
    "animation": "an animation",
    "mesh": "a 3D object",
    "audio": "a sound",
}


def _too_weak(passes: int) -> str:
    """The words for a strength at which none of the sampling steps is taken."""
    least = math.ceil(1000 / passes) / 1000
    plural = "s" if passes > 1 else ""
    return f"{least:g} or more with {passes} sampling step{plural}: less changes nothing"


def _too_many(step: TextToAnimation | ImageToAnimation) -> str:
    """The words for more frames than are drawn of this size; "" for no more."""
    sides = (step.width, step.height) if isinstance(step, TextToAnimation) else (step.longest_side,) * 2
    most = MOST_PIXELS // math.prod(sides)
    return f"At most {most} of {sides[0]} × {sides[1]} pixels" if step.frames > most else ""


def _check_inputs(inputs: Sequence[Input]) -> dict[str, str]:
    errors: dict[str, str] = {}
    if len(inputs) > MAX_INPUTS:
        errors["inputs"] = f"At most {MAX_INPUTS} inputs"
    seen: set[str] = set()
    for number, entry in enumerate(inputs, 1):
        if entry.name == "text":
            errors[f"i{number}-name"] = "“text” is taken: it means the text of the step before"
        elif entry.name in seen:
            errors[f"i{number}-name"] = "Another input has this name"
        seen.add(entry.name)
        try:
            check_input(entry, entry.default)
        except ValueError as error:
            errors[f"i{number}-default"] = str(error)
    return errors


_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII)


def check_input(entry: Input, value: str) -> str:
    """The value of an input as it may be used. Raises ValueError with the words for the field."""
    most = MAX_LONG if entry.kind == "long" else MAX_SHORT
    if len(value) > most:
        raise ValueError(f"At most {most:,} characters")
    if entry.kind == "choice" and value not in entry.choices:
        raise ValueError("Choose one of: " + ", ".join(entry.choices) if entry.choices else "Give it some choices")
    if entry.kind == "number" and not (_NUMBER.fullmatch(value) and math.isfinite(float(value))):
        raise ValueError("Enter a number, such as 12 or 0.5")
    return value


def _check_lists(lists: Mapping[str, Sequence[str]]) -> dict[str, str]:
    errors: dict[str, str] = {}
    if len(lists) > MAX_LISTS:
        errors["lists"] = f"At most {MAX_LISTS} lists"
    for number, (name, items) in enumerate(lists.items(), 1):
        if not _LIST_NAME.match(name):
            errors[f"l{number}-name"] = "Small letters, digits and _ only, a letter first"
        if not items:
            errors[f"l{number}-items"] = "Write one entry a line"
        elif len(items) > MAX_LIST_ITEMS:
            errors[f"l{number}-items"] = f"At most {MAX_LIST_ITEMS} entries"
        elif any(len(item) > 500 for item in items):
            errors[f"l{number}-items"] = "At most 500 characters an entry"
    return errors
