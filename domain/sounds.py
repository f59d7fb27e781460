"""Uploaded sounds, and the sound of videos: told apart by their first bytes, and made anew as FLAC of one channel.

ffmpeg's libraries read many odd files, so they do it in a process of its own: `python -m domain.sounds FORMAT`, the
file in, a line that tells of it and FLAC out. It gets an empty environment, little memory and little time, and before
it looks at the file it gives up opening anything: no file, no connection, no core dump. It stays the same user on the
same machine. PyAV is imported when first needed.
"""

import asyncio
import io
import logging
import re
import resource
import sys
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from domain.errors import Invalid, TooLarge, TooMany, Unavailable

log = logging.getLogger("uploads")

MAX_SECONDS = 600
RATE = 16_000
"""Samples a second that are kept: what speech needs, and what models hear."""
MOST_RATE, MOST_CHANNELS = 192_000, 8
"""Samples a second and channels that are read: a small file of more takes minutes."""
GAP = 0.05
"""Seconds without sound that are kept as silence; smaller ones are how containers round."""
BROKEN_SHARE = 0.1
"""Of a file's packets, those that may be damaged."""
SECONDS_OF_WORK = 15
"""Of a core, for one file."""
SECONDS_OF_WAIT = 20
"""Until whoever waits for their turn is told to come again."""
MEMORY = 2 << 30
SAMPLE_SECONDS = (1, 30)
"""How long the sample of a voice is."""
QUIET = 0.01
"""Of full scale (-40 dB): what stays below all through is not heard in a sample."""
PEAKS = 96
"""Bars by which a sound is drawn."""
BLOCK = 320
"""Samples that are heard or not heard together: a fiftieth of a second."""
FIELD = "file"
ROOT = Path(__file__).resolve().parent.parent
_ONE = asyncio.Semaphore(1)
"""One file at a time: decoding takes a core."""
_at_work: set[UUID] = set()
"""People whose file is made anew, or waits for its turn."""
_BROKEN, _SILENT, _LONG, _RICH, _UNFIT = 3, 4, 5, 6, 7
"""How the process ends: the file is damaged, has no sound, or too much of it, in seconds or at once; or it is no sample
of a voice."""
_WORDS = {
    _SILENT: "There is no sound in this file",
    _BROKEN: "The sound is cut off or damaged. Save it again and upload the whole file",
    _RICH: f"At most {MOST_CHANNELS} channels and {MOST_RATE:,} samples a second are read. Save it with less of them",
}
_STARTS = (
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"ID3", "mp3"),
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"\xff\xf1", "aac"),
    (b"\xff\xf9", "aac"),
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
"""With which MP4 and QuickTime begin."""
_TOLD = re.compile(rf"(\d{{1,3}}\.\d{{4}}) ((?:[0-9a-f]{{2}}){{{PEAKS}}})")
"""What the process writes before the FLAC, on a line of its own: seconds, and peaks."""


class Kept(NamedTuple):
    """A sound made anew: its FLAC, how many seconds it has, and its peaks in two hexadecimal digits each."""

    flac: bytes
    seconds: float
    peaks: str


def sniff(data: bytes) -> str:
    """The format of a sound or a video by its first bytes, as ffmpeg calls it. Raises Invalid.

    ffmpeg is told the format and never guesses: some that it knows are lists of other files and addresses.
    """
    if not data:
        raise Invalid({FIELD: "The file is empty"})
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[4:8] in _BOXES:
        return "mov"
    found = next((name for start, name in _STARTS if data.startswith(start)), "")
    if not found and _is_mpeg(data):
        found = "mp3"
    if not found:
        raise Invalid({FIELD: "This is no sound we can read. Upload a WAV, MP3, FLAC, Ogg, M4A, MP4 or WebM"})
    return found


def _is_mpeg(data: bytes) -> bool:
    """Whether it begins with the header of an MPEG frame of layer II or III. Text in UTF-16 begins much alike."""
    return len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] >> 1 & 3 in (1, 2)


def sample_fault(seconds: float, loud: float) -> str:
    """What keeps a sound of so many seconds, of which so many are not quiet, from being the sample of a voice; "" for
    nothing."""
    least, most = SAMPLE_SECONDS
    if not least <= seconds <= most:
        return f"The sample of a voice is {least} to {most} seconds long, and this has {seconds:,.1f}"
    if loud < least:
        return "There is no voice to be heard in this sample: at least a second of it has to be louder than silence"
    return ""


def loud(samples: memoryview) -> int:
    """How many of the samples, 16 bits of one channel each, are in blocks that are not quiet."""
    blocks = (samples[at : at + BLOCK] for at in range(0, len(samples), BLOCK))
    return sum(len(block) for block in blocks if max(max(block), -min(block)) >= QUIET * 32_768)


def peaks(samples: memoryview) -> str:
    """How loud each part of the sound gets, the loudest ff: two hexadecimal digits for each of `PEAKS` parts."""
    edges = [at * len(samples) // PEAKS for at in range(PEAKS + 1)]
    parts = [samples[start:end] for start, end in pairwise(edges)]
    loud = [max(max(part), -min(part)) if len(part) else 0 for part in parts]
    most = max(loud) or 1
    return bytes(round(255 * one / most) for one in loud).hex()


async def remade(data: bytes, person_id: UUID, *, sample: bool = False) -> Kept:
    """The file's first sound as FLAC, one channel of `RATE` samples a second, without metadata. `sample`: it is to be
    the sample of a voice.

    Raises Invalid (field `file`) for what is no sound, a damaged one or no sample, TooLarge past ten minutes, TooMany
    while the person's last one is worked on or others wait, Unavailable where sounds cannot be read at all.
    """
    layout = sniff(data)
    async with _turn(person_id):
        ended, written, said = await _read(data, layout, sample)
    line, _, made = written.partition(b"\n")
    told = line.decode("ascii", "replace")
    if ended == _LONG:
        raise TooLarge(f"The sound is longer than {MAX_SECONDS // 60} minutes. Cut it and upload a part.")
    if ended == _UNFIT:
        raise Invalid({FIELD: _unfit(told)})
    if ended in _WORDS or ended < 0:
        raise Invalid({FIELD: _WORDS.get(ended, _WORDS[_BROKEN])})
    if ended != 0:
        log.error("Reading a sound ended with %s: %s", ended, said.decode("utf-8", "replace")[-2_000:])
        raise Unavailable("Sounds cannot be read just now.")
    return _kept(told, made)


def _kept(told: str, made: bytes) -> Kept:
    """The sound, by what the process told of it. Raises Invalid: a stranger's file was read there."""
    found = _TOLD.fullmatch(told)
    if found is None:
        raise Invalid({FIELD: _WORDS[_BROKEN]})
    return Kept(made, float(found[1]), found[2])


def _unfit(told: str) -> str:
    """The words for what is no sample, by the two numbers that the process wrote."""
    try:
        seconds, loud = map(float, told.split())
    except ValueError:
        return _WORDS[_BROKEN]
    return sample_fault(seconds, loud)


@asynccontextmanager
async def _turn(person_id: UUID) -> AsyncIterator[None]:
    """One file at a time in this web process, one of them the person's. Raises TooMany."""
    if person_id in _at_work:
        raise TooMany("Your last sound is still being read. Upload this one once it is done.")
    _at_work.add(person_id)
    try:
        try:
            async with asyncio.timeout(SECONDS_OF_WAIT):
                await _ONE.acquire()
        except TimeoutError:
            raise TooMany("Other sounds are being read just now. Upload it again in a minute.") from None
        try:
            yield
        finally:
            _ONE.release()
    finally:
        _at_work.discard(person_id)


async def _read(data: bytes, layout: str, sample: bool) -> tuple[int, bytes, bytes]:
    """How the process ended, the signal that ended it below 0, and what it wrote and said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "domain.sounds", layout, *(["sample"] if sample else [])),
        cwd=ROOT,
        env={},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(4 * SECONDS_OF_WORK):
            made, said = await process.communicate(data)
    except TimeoutError:
        raise Unavailable("Reading the sound took too long.") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return process.returncode or 0, made, said


# -- in the process ---------------------------------------------------------------------------


def main(layout: str, sample: bool) -> int:
    """Read a file, write a line that tells of it and its FLAC, and end with what is wrong."""
    data = sys.stdin.buffer.read()
    confine()
    wrong, told, made = convert(data, layout, sample)
    sys.stdout.buffer.write(told.encode() + b"\n" + made)
    return wrong


def confine() -> None:
    """Read a sound of our own, for which everything is loaded that is needed, and then give up all else."""
    short = io.BytesIO()
    with wave.open(short, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(RATE))
    wrong, *_ = convert(short.getvalue(), "wav")
    if wrong:
        raise RuntimeError("A sound of our own cannot be read")
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_CPU, SECONDS_OF_WORK)
    for what in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        _limit(what, 0)


def _limit(what: int, wanted: int) -> None:
    """Never more than the host allows, which would be refused."""
    hard = resource.getrlimit(what)[1]
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(what, (most, most))


def convert(data: bytes, layout: str, sample: bool = False) -> tuple[int, str, bytes]:
    """What is wrong with the file, 0 for nothing, its seconds and peaks, and its FLAC; of what is no sample of a voice,
    which `sample` asks for, its seconds and those that are not quiet."""
    import av

    try:
        with av.open(io.BytesIO(data), format=layout, options={"protocol_whitelist": "none"}) as file:
            if not file.streams.audio:
                return _SILENT, "", b""
            if _is_rich(file.streams.audio[0].codec_context):
                return _RICH, "", b""
            made, heard = _flac(file)
    except Exception:  # whatever a decoder meets in a stranger's file
        return _BROKEN, "", b""
    if len(heard) == 0:
        return _SILENT, "", b""
    if len(heard) > MAX_SECONDS * RATE:
        return _LONG, "", b""
    seconds = len(heard) / RATE
    if sample and sample_fault(seconds, voiced := loud(heard) / RATE):
        return _UNFIT, f"{seconds} {voiced}", b""
    return 0, f"{seconds:.4f} {peaks(heard)}", made


def _is_rich(told: Any) -> bool:
    return bool(told.sample_rate > MOST_RATE or told.layout.nb_channels > MOST_CHANNELS)


def _flac(file: Any) -> tuple[bytes, memoryview]:
    """FLAC, and the samples in it; no more than a little past what fits."""
    import av

    buffer, heard = io.BytesIO(), bytearray()
    with av.open(buffer, "w", format="flac", options={"fflags": "+bitexact"}) as flac:
        stream: Any = flac.add_stream("flac", rate=RATE, layout="mono", format="s16")
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for part in _parts(file):
            heard += memoryview(part.planes[0]).cast("B")[: 2 * part.samples]
            part.pts = None
            flac.mux(stream.encode(part))
            if len(heard) > 2 * MAX_SECONDS * RATE:
                break
        flac.mux(stream.encode(None))
    return buffer.getvalue(), memoryview(heard).cast("h")


def _parts(file: Any) -> Iterator[Any]:
    """The sound as it is kept, with silence where its times leave a gap: in a video it may begin late."""
    from av.audio.resampler import AudioResampler

    resampler = AudioResampler("s16", "mono", RATE)
    at = (file.start_time or 0) / 1_000_000
    for frame in _frames(file):
        if frame.time is not None and frame.time - at > GAP:
            yield from _silence(frame.time - at)
            at = frame.time
        at += frame.samples / frame.sample_rate
        frame.pts = None
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def _silence(seconds: float) -> Iterator[Any]:
    """So much silence, or a little more than fits."""
    import av

    left = round(min(seconds, MAX_SECONDS + 1) * RATE)
    while left > 0:
        part = av.AudioFrame("s16", "mono", min(left, RATE))
        part.sample_rate = RATE
        part.planes[0].update(bytes(part.planes[0].buffer_size))
        left -= part.samples
        yield part


def _frames(file: Any) -> Iterator[Any]:
    """What can be decoded. Raises ValueError past `BROKEN_SHARE` of damaged packets."""
    from av.error import InvalidDataError

    stream = file.streams.audio[0]
    stream.thread_type = "NONE"
    packets = broken = 0
    for packet in file.demux(stream):
        packets += 1
        try:
            yield from packet.decode()
        except InvalidDataError:
            broken += 1
    if broken > packets * BROKEN_SHARE:
        raise ValueError("Too much of the sound is damaged")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sample="sample" in sys.argv[2:]))
