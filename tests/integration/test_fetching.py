"""Models from a hub, which here is a server of the same protocol with one repository."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from domain import weights
from domain.models import STARTER_PATH

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MORE = {
    "whole.safetensors": b"a whole checkpoint",
    "unet/diffusion_pytorch_model.fp16.safetensors": b"a variant",
    "unet/diffusion_pytorch_model.bin": b"\x80\x04.",
    "run.py": b"print('no')",
}


class Hub(ThreadingHTTPServer):
    """Serves files at `COMMIT` of the repository `ours/starter`, and of `ours/pickled`, which has none to open."""

    files = {
        "ours/starter": {str(file.relative_to(STARTER_PATH)): file.read_bytes() for file in STARTER_PATH.rglob("*.*")}
        | MORE,
        "ours/pickled": {"model.bin": b"\x80\x04.", "config.json": b"{}"},
    }

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        """What HF_ENDPOINT names."""
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        repository, _, rest = self.path.removeprefix("/api/models").strip("/").partition(f"/{self._between}/{COMMIT}")
        files = self.server.files.get(repository)
        name = rest.partition("?")[0].strip("/")
        if files is None or (name and name not in files):
            self._say(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif name:
            etag = hashlib.sha256(files[name]).hexdigest()
            self._say(200, files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        else:
            told = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            self._say(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    do_HEAD = do_GET

    @property
    def _between(self) -> str:
        return "revision" if self.path.startswith("/api/") else "resolve"

    def _say(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def fetch(hub: Hub, source: str, folder: Path, *more: str) -> tuple[int, str]:
    """The command's exit status and what it says."""
    env = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(folder.parent / "cache")}
    command = [sys.executable, "-m", "deploy.cli", "models", "fetch", source, str(folder), *more]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_a_model_comes_as_it_was_at_its_commit(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "starter"
    status, said = fetch(hub, f"ours/starter@{COMMIT}", folder)
    assert (status, "Register it: offshoot models add NAME" in said) == (0, True), said
    there = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert there == {name for name in weights.files_of(STARTER_PATH) if not name.endswith(".md")}
    assert all((folder / name).read_bytes() == (STARTER_PATH / name).read_bytes() for name in there)
    assert not any(name in path for path in hub.asked for name in MORE)
    assert all("ours/starter" in path for path in hub.asked), "nothing is told to anybody"
    status, said = fetch(hub, f"ours/starter@{COMMIT}", folder)
    assert (status, "is there already" in said) == (1, True)


def test_a_configuration_comes_without_weights(hub: Hub, tmp_path: Path) -> None:
    assert fetch(hub, f"ours/starter@{COMMIT}", tmp_path / "one", "--configuration")[0] == 0
    assert (tmp_path / "one" / "tokenizer" / "vocab.json").is_file()
    assert not list((tmp_path / "one").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ours/starter", "is no OWNER/NAME@COMMIT"),
        ("ours/starter@main", "is no OWNER/NAME@COMMIT"),
        (f"ours/pickled@{COMMIT}", "ours/pickled has no .safetensors files at that commit"),
        (f"ours/starter@{'f' * 40}", "cannot be fetched: "),
    ],
)
def test_what_cannot_be_had_is_told_in_a_line(hub: Hub, tmp_path: Path, source: str, words: str) -> None:
    status, said = fetch(hub, source, tmp_path / "made")
    assert (status, said.count("\n")) == (1, 0), said
    assert words in said
    assert not (tmp_path / "made").exists()
