"""Uploaded sounds, and the sound of videos: told apart by their first bytes, and made anew as FLAC of one channel.

ffmpeg's libraries read many odd files, so they do it in a process of its own that has no secrets, little memory and
little time: `python -m domain.sounds FORMAT`, the file in, FLAC out. PyAV is imported when first needed.
"""

import asyncio
import io
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from domain.errors import Invalid, TooLarge

MAX_SECONDS = 600
RATE = 16_000
"""Samples a second that are kept: what speech needs, and what models hear."""
SECONDS_OF_WORK = 60
MEMORY = 2 << 30
FIELD = "file"
ROOT = Path(__file__).resolve().parent.parent
_ONE = asyncio.Semaphore(1)
"""One file at a time: decoding takes a core."""
_BROKEN, _SILENT, _LONG = 3, 4, 5
"""How the process ends: the file is damaged, has no sound, or too much of it."""
_WORDS = {
    _SILENT: "There is no sound in this file",
    _BROKEN: "The sound is cut off or damaged. Save it again and upload the whole file",
}
_STARTS = (
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"ID3", "mp3"),
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"\xff\xf1", "aac"),
    (b"\xff\xf9", "aac"),
)


def sniff(data: bytes) -> str:
    """The format of a sound or a video by its first bytes, as ffmpeg calls it. Raises Invalid.

    ffmpeg is told the format and never guesses: some that it knows are lists of other files and addresses.
    """
    if not data:
        raise Invalid({FIELD: "The file is empty"})
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[4:8] == b"ftyp":
        return "mov"
    found = next((name for start, name in _STARTS if data.startswith(start)), "")
    if not found and data[0] == 0xFF and len(data) > 1 and data[1] & 0xE0 == 0xE0:
        found = "mp3"
    if not found:
        raise Invalid({FIELD: "This is no sound we can read. Upload a WAV, MP3, FLAC, Ogg, M4A, MP4 or WebM"})
    return found


async def remade(data: bytes) -> bytes:
    """The file's first sound as FLAC, one channel of `RATE` samples a second, without metadata.

    Raises Invalid (field `file`) for what is no sound or a damaged one, TooLarge past ten minutes.
    """
    layout = sniff(data)
    async with _ONE:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "domain.sounds", layout),
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(2 * SECONDS_OF_WORK):
                made, _ = await process.communicate(data)
        except TimeoutError:
            raise Invalid({FIELD: _WORDS[_BROKEN]}) from None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == _LONG:
        raise TooLarge(f"The sound is longer than {MAX_SECONDS // 60} minutes. Cut it and upload a part.")
    if process.returncode != 0:
        raise Invalid({FIELD: _WORDS.get(process.returncode or 0, _WORDS[_BROKEN])})
    return made


# -- in the process ---------------------------------------------------------------------------


def main(layout: str) -> int:
    """Read a file, write FLAC, and end with what is wrong."""
    data = sys.stdin.buffer.read()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_OF_WORK, SECONDS_OF_WORK))
    wrong, made = convert(data, layout)
    sys.stdout.buffer.write(made)
    return wrong


def convert(data: bytes, layout: str) -> tuple[int, bytes]:
    """What is wrong with the file, 0 for nothing, and its FLAC."""
    import av

    try:
        with av.open(io.BytesIO(data), format=layout, options={"protocol_whitelist": "none"}) as file:
            if not file.streams.audio:
                return _SILENT, b""
            made, count = _flac(file)
    except Exception:  # whatever a decoder meets in a stranger's file
        return _BROKEN, b""
    if count == 0:
        return _SILENT, b""
    return (_LONG, b"") if count > MAX_SECONDS * RATE else (0, made)


def _flac(file: Any) -> tuple[bytes, int]:
    """FLAC, and of how many samples; no more than a little past what fits."""
    import av
    from av.audio.resampler import AudioResampler

    buffer, count = io.BytesIO(), 0
    resampler = AudioResampler("s16", "mono", RATE)
    with av.open(buffer, "w", format="flac", options={"fflags": "+bitexact"}) as flac:
        stream: Any = flac.add_stream("flac", rate=RATE, layout="mono", format="s16")
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        file.streams.audio[0].thread_type = "NONE"
        for frame in file.decode(file.streams.audio[0]):
            frame.pts = None
            for part in resampler.resample(frame):
                count += part.samples
                flac.mux(stream.encode(part))
            if count > MAX_SECONDS * RATE:
                break
        for part in resampler.resample(None):
            count += part.samples
            flac.mux(stream.encode(part))
        flac.mux(stream.encode(None))
    return buffer.getvalue(), count


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
