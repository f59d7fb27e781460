"""Polls of runs that have not changed: answered 304 from memory, until PostgreSQL tells of a change.

Only the answer "nothing new" is kept, for the session that got it and for the tag it named, and for a few
seconds at most. So nothing of a run can leak from here, and a session that ended learns nothing more.
"""

import random
import re
import time
from typing import Any, NamedTuple

from litestar import Request
from litestar.types import Message

from domain import events
from web import auth

AGE = 30.0
"""Seconds, at most, until a poll is looked up anew, whatever was told; at random sooner, so that a crowd spreads."""
RUNS = 5_000
"""Runs remembered."""
_PATH = re.compile(r"/runs/([0-9a-f-]{36})/progress")


class _Answer(NamedTuple):
    """A tag that was still right, until when it is believed."""

    tag: str
    until: float


class Look(NamedTuple):
    """Taken before a run is read: whatever is told meanwhile parts it from the memory."""

    answers: dict[str, _Answer]
    moves: int


class Unchanged:
    """The memory of one process. Deaf, it remembers nothing."""

    def __init__(self) -> None:
        self._answers: dict[str, dict[str, _Answer]] = {}
        self._queued: set[str] = set()
        self._moves = 0
        self._hearing = False

    async def listen(self, database_url: str) -> None:
        """Hear of changes, for ever."""
        await events.listen(database_url, events.RUNS, self._hear, began=self._began, ended=self._ended)

    def _hear(self, payload: str) -> None:
        """Forget the run; when others may have moved up in the queue, forget all that wait in it."""
        self._answers.pop(payload.removesuffix(events.MOVED), None)
        if payload.endswith(events.MOVED):
            self._moves += 1
            for run_id in self._queued:
                self._answers.pop(run_id, None)
            self._queued.clear()

    def _began(self) -> None:
        self._hearing = True

    def _ended(self) -> None:
        self._hearing = False
        self._answers.clear()
        self._queued.clear()

    def look(self, run_id: str) -> Look:
        """Begin to read a run."""
        if len(self._answers) >= RUNS:
            self._answers.clear()
        return Look(self._answers.setdefault(run_id, {}), self._moves)

    def remember(self, look: Look, run_id: str, token: str, tag: str, *, queued: bool) -> None:
        """The run was just read for this session, and the tag it named is still right."""
        if self._hearing and (look.moves == self._moves or not queued):
            look.answers[token] = _Answer(tag, time.monotonic() + AGE * random.uniform(0.5, 1.0))
            if queued:
                self._queued.add(run_id)

    def answer(self, request: Request[Any, Any, Any]) -> Message | None:
        """The head of a 304 for a poll that surely has nothing new; None: it must be looked up."""
        found = _PATH.fullmatch(request.scope["path"])
        if found is None:
            return None
        known = self._answers.get(found[1], {}).get(auth.token_of(request))
        if known is None or known.until < time.monotonic() or known.tag != asked(request):
            return None
        head = [(name.lower().encode(), value.encode()) for name, value in headers(known.tag).items()]
        return {"type": "http.response.start", "status": 304, "headers": head}


def asked(request: Request[Any, Any, Any]) -> str:
    """The tag that a poll names, or ""."""
    tag: str = request.headers.get("hx-ptag") or request.headers.get("if-none-match") or ""
    return tag.strip().removeprefix("W/").strip('"')


def headers(tag: str) -> dict[str, str]:
    """What every answer to a poll says."""
    return {"ETag": f'"{tag}"', "HX-PTag": tag, "Cache-Control": "private, no-store"}
