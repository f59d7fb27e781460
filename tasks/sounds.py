"""Sounds as files: a WAV with its receipt inside, Opus to play, and a drawing of how loud it is.

PyAV and numpy are imported when first needed.
"""

import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from PIL import Image, ImageDraw

from domain import clock, receipts
from domain.artifacts import WIDTHS
from domain.errors import DomainError
from domain.receipts import Receipt
from domain.sounds import PEAKS
from tasks.context import Sound
from tasks.messages import File, Form

OPUS_RATE, OPUS_BITS = 48_000, 48_000
"""What Opus counts in, whatever comes in, and bits a second."""
DRAWN = (WIDTHS[-1] + 2, (WIDTHS[-1] + 2) * 2 // 3)
"""Pixels of the drawing that stands for a sound where others have a picture."""
GREEN = "#7d9a4f"
"""Seen on light and dark ground."""


def encode(made: Sound, receipt: Receipt) -> File:
    """The sound as it is stored: 16 bits, and everything else that pages show of it."""
    from tasks.files import renditions

    opus = Form("opus", "audio/ogg", _written(made, receipt, "ogg"))
    drawn = renditions(_drawing(peaks(made)))
    return File(_written(made, receipt, "wav"), "audio/wav", None, None, made.seed, drawn, [opus])


def opened(data: bytes, sampling_rate: int, start: float = 0, end: float | None = None) -> Sound:
    """The sound in a file of ours, WAV or FLAC, at so many samples a second, from second `start` to second `end` or to
    its end. Raises DomainError, also for a sound that ends before `start`."""
    import av
    import numpy as np
    from av.audio.resampler import AudioResampler
    from av.error import FFmpegError

    resampler = AudioResampler("flt", "mono", sampling_rate)
    layout = "flac" if data.startswith(b"fLaC") else "wav"
    try:
        with av.open(io.BytesIO(data), "r", format=layout, options={"protocol_whitelist": "none"}) as file:
            if start and start >= (length := (file.duration or 0) / av.time_base):
                raise DomainError(
                    f"The sound ends at {clock.shown(length)}, and was to be heard from {clock.shown(start)}."
                )
            frames = [part for frame in _cut(file, start, end) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
        samples = np.concatenate([part.to_ndarray()[0] for part in frames])
    except (FFmpegError, IndexError, ValueError) as error:
        raise DomainError("What came in is no sound that can be opened.") from error
    return Sound(samples, sampling_rate, None)


def _cut(file: Any, start: float, end: float | None) -> Iterator[Any]:
    """The frames between two seconds, the samples at either edge cut by ffmpeg's atrim."""
    import av.filter
    from av.error import BlockingIOError, EOFError

    graph = av.filter.Graph()
    trim = graph.add("atrim", f"start={start:.6f}" + ("" if end is None else f":end={end:.6f}"))
    graph.link_nodes(graph.add_abuffer(template=file.streams.audio[0]), trim, graph.add("abuffersink")).configure()
    for frame in chain(file.decode(audio=0), [None]):
        with suppress(BlockingIOError, EOFError):
            graph.push(frame)
            while True:
                yield graph.pull()


def shape(made: Sound) -> dict[str, Any]:
    """What a receipt tells of a sound: its seconds, samples a second, and peaks in two hexadecimal digits each."""
    return {
        "seconds": round(len(made.samples) / made.sampling_rate, 3),
        "sampling_rate": made.sampling_rate,
        "peaks": bytes(peaks(made)).hex(),
    }


def peaks(made: Sound) -> list[int]:
    """How loud each part of the sound gets, the loudest 255."""
    import numpy as np

    loud = [float(np.abs(part).max(initial=0)) for part in np.array_split(made.samples, PEAKS)]
    most = max(loud) or 1.0
    return [round(255 * one / most) for one in loud]


def _written(made: Sound, receipt: Receipt, layout: str) -> bytes:
    """The file, with the receipt as its comment: in a WAV the INFO chunk's ICMT, in Opus a Vorbis comment.

    `bitexact`: the same samples give the same file.
    """
    import av
    from av.audio.resampler import AudioResampler

    codec, rate = {"wav": ("pcm_s16le", made.sampling_rate), "ogg": ("libopus", OPUS_RATE)}[layout]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=layout, options={"fflags": "+bitexact"}) as file:
        file.metadata["comment"] = "offshoot " + receipts.to_json(receipt)
        stream: Any = file.add_stream(codec, rate=rate, layout="mono")
        if layout == "ogg":
            stream.codec_context.bit_rate = OPUS_BITS
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        resampler = AudioResampler(stream.codec_context.format.name, "mono", rate, stream.codec_context.frame_size)
        for frame in [*resampler.resample(_frame(made)), *resampler.resample(None)]:
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def _frame(made: Sound) -> Any:
    import av
    import numpy as np

    whole = (np.clip(made.samples, -1, 1) * 32767).round().astype(np.int16)
    frame = av.AudioFrame.from_ndarray(whole[np.newaxis], format="s16", layout="mono")
    frame.sample_rate = made.sampling_rate
    return frame


def _drawing(loud: list[int]) -> Image.Image:
    """Bars around the middle, on nothing."""
    width, height = DRAWN
    image = Image.new("RGBA", DRAWN, (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    step = width * 0.84 / len(loud)
    for number, one in enumerate(loud):
        left, half = width * 0.08 + step * number, max(one / 255 * height * 0.3, 3)
        draw.rounded_rectangle((left, height / 2 - half, left + step * 0.55, height / 2 + half), 4, GREEN)
    return image
