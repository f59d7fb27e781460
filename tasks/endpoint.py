"""Models that run elsewhere and answer in the protocol of OpenAI's chat completions, as the steps use them.

The key is read from the environment of the worker and stays in its process.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urldefrag, urlsplit

from domain.config import endpoint_key
from domain.errors import DomainError
from domain.steps import TextToText
from tasks import language
from tasks.context import Away, Context

PATIENCE = 120.0
"""Seconds until an endpoint that says nothing counts as away."""
LONGEST = 900.0
"""Seconds that an answer may take."""
CHARACTERS = 40
"""Characters of a token at most, on average: a server that counts otherwise is cut short."""
MAX_REASON = 200
PIECE = 6
"""Characters of a key that nobody reads in a reason."""
_NO_ENTRY = (401, 403)
_AWAY = (408, 409, 425, 429)
"""Statuses that another try may change, beside 500 and more."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model of a server: `path` is the address of its API, then # and the model's name there."""

    name: str
    path: str

    @property
    def host(self) -> str:
        """Where the words go."""
        return urlsplit(self.path).netloc

    def write(self, step: TextToText, ctx: Context) -> tuple[str, int]:
        """The model's answer to the step's prompt, and in how many pieces it came.

        Raises DomainError with the server's reason for what it refuses and for an empty answer, Away where another
        try may help, Stopped when nobody wants it any more.
        """
        most, pieces, length = step.max_new_tokens, list[str](), 0
        until = time.monotonic() + LONGEST
        ctx.progress(0, most)
        with self._answers(step) as answers:
            for piece in answers:
                if time.monotonic() > until:
                    raise Away(f"{self.name} did not come to an end")
                ctx.progress(len(pieces), most)  # also where it only thinks: somebody may have stopped it
                if not piece:
                    continue
                pieces.append(piece)
                length += len(piece)
                if len(pieces) >= most or length >= most * CHARACTERS:
                    break
                ctx.written(len(pieces), most, lambda: language.storable("".join(pieces)))
        ctx.progress(most, most)
        return language.written(language.storable("".join(pieces))), len(pieces)

    @contextmanager
    def _answers(self, step: TextToText) -> Iterator[Iterator[str]]:
        import openai

        address, model = urldefrag(self.path)
        key = endpoint_key(self.name)
        told: list[Any] = [{"role": "system", "content": step.system}] if step.system.strip() else []
        # words go to the host that /models names, and to no other that it may point to
        http = openai.DefaultHttpxClient(follow_redirects=False)
        try:
            # no tries of its own: the queue tries again, and tells whoever waits
            with (
                openai.OpenAI(
                    base_url=address, api_key=key or "none", timeout=PATIENCE, max_retries=0, http_client=http
                ) as client,
                client.chat.completions.create(
                    model=model,
                    messages=[*told, {"role": "user", "content": step.prompt}],
                    max_tokens=step.max_new_tokens,
                    temperature=step.temperature,
                    top_p=step.top_p,
                    stop=language.stops(step) or openai.omit,
                    seed=step.seed if step.seed is not None else openai.omit,
                    stream=True,
                ) as stream,
            ):
                yield (part.choices[0].delta.content or "" for part in stream if part.choices)
        except openai.APIStatusError as error:
            keyless = not key and error.status_code in _NO_ENTRY  # a worker that has it may be there too
            if keyless or error.status_code in _AWAY or error.status_code >= 500:
                raise Away(f"{self.name} answered {error.status_code}") from error
            raise DomainError(f"The model “{self.name}” refused: {_reason(error, key)}") from error
        except openai.APIError as error:
            raise Away(f"{self.name} did not answer: {type(error).__name__}") from error


def _reason(error: Any, key: str) -> str:
    """What the server says, in a line; of who may not ask at all, and where a piece of the key shows, no word of it."""
    if error.status_code in _NO_ENTRY:
        return "the key that the host of this site gave for it is not accepted."
    told = error.body.get("message") if isinstance(error.body, dict) else None
    if any(key[at : at + PIECE] in str(told) for at in range(0, len(key), PIECE)):
        told = None
    words = " ".join(str(told or error.status_code).split())
    return words if len(words) <= MAX_REASON else f"{words[:MAX_REASON]}…"


def versions() -> dict[str, str]:
    """The library that asks."""
    import openai

    return {"openai": openai.__version__}
