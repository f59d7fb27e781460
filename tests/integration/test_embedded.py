"""`offshoot run` on real processes: starts, stops in order, leaves nothing, recovers, and says what is wrong."""

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import psutil
import pytest

from deploy import checks, folder
from deploy.embedded import Services, Urls
from deploy.example_recipes import EXAMPLES
from deploy.folder import Folder
from deploy.migrations import ROOT
from deploy.ports import free_port
from deploy.problems import Problem
from deploy.processes import Child, Guard
from tests.make import png
from web.auth import CSRF_HEADER

pytestmark = pytest.mark.slow
SETTINGS = ("DATABASE_URL", "REDIS_URL", "S3_URL", "SECRET_KEY", "SITE_URL", "MODELS", "HOST", "QUEUES", "DEVICE")
PATIENCE_S = 30.0
ORDER = ("dramatiq", "tasks.dispatcher", "-m web", "rclone", "valkey-server", "bin/postgres")
"""What names each part on its command line, in the order in which they stop."""


class Copy:
    """One `offshoot run` and what it says."""

    def __init__(self, data: Path, **settings: str) -> None:
        env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        self.port = int(settings.get("PORT", free_port()))
        env |= {"DATA_DIR": str(data), "PORT": str(self.port), "SEED_EXAMPLES": "0", **settings}
        self.data = data
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", "run"],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self) -> str:
        """Its next line, or "" when it ended instead."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        assert ready, "it says nothing"
        return self.process.stdout.readline().strip()

    def up(self) -> "Copy":
        line = self.line()
        assert line == f"Offshoot is ready at http://127.0.0.1:{self.port} (Ctrl-C stops it)", self.complaint()
        return self

    def page(self, path: str = "/") -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
            return int(answer.status)

    def healthy(self) -> bool:
        """Whether every part answered in the time that a look at their health takes."""
        try:
            return self.page("/health") == 200
        except urllib.error.HTTPError as answer:
            if answer.code != 503:
                raise
            return False

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def named(self, part: str) -> list[psutil.Process]:
        """Its processes that have this on their command line."""
        return [process for process in self.family() if part in words_of(process)]

    def settled(self) -> bool:
        """Whether every part runs, the worker with the processes below it."""
        said = [words_of(process) for process in self.family()]
        below = sum("multiprocessing" in words for words in said)
        return below >= 3 and all(any(name in words for words in said) for name in ORDER)

    def complaint(self) -> str:
        """What it wrote to standard error before it ended."""
        _, error = self.process.communicate(timeout=PATIENCE_S)
        return str(error).strip()

    def stop(self, number: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Copy]]:
    copies: list[Copy] = []

    def start(data: Path | None = None, **settings: str) -> Copy:
        copies.append(Copy(data or tmp_path / "data", **settings))
        return copies[-1]

    yield start
    for copy in copies:
        copy.stop()


def until(true: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)  # what is asked mostly looks at every process of the machine


def words_of(process: psutil.Process) -> str:
    """The command line, or "" for a process that has ended, reaped or not."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # ZombieProcess is one of these
        return ""


def gone(processes: list[psutil.Process]) -> bool:
    return not [process for process in processes if lives(process)]


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def only_line(copy: Copy) -> str:
    """The one line with which it refused to start."""
    words = copy.complaint()
    assert copy.process.returncode == 1
    assert "\n" not in words, words
    assert words.startswith("offshoot: ")
    return words


def test_it_starts_answers_stops_in_order_and_keeps_its_data(run: Callable[..., Copy]) -> None:
    first = run().up()
    assert first.page() == 200
    until(first.settled)
    parts = psutil.Process(first.process.pid).children()
    words = {part.pid: words_of(part) for part in parts}
    pids = [next(pid for pid, said in words.items() if name in said) for name in ORDER]
    family = first.family()
    secret = (first.data / "secret" / "key").read_text()
    first.process.send_signal(signal.SIGINT)
    ended: dict[int, float] = {}
    while len(ended) < len(pids) and first.process.poll() is None:
        for pid in pids:  # in this order, for two may have ended since the last look
            if pid not in ended and gone([part for part in parts if part.pid == pid]):
                ended[pid] = time.monotonic()
        time.sleep(0.001)
    assert sorted(ended, key=lambda pid: ended[pid]) == pids[: len(ended)]
    assert first.stop() == 0
    assert gone(family)
    second = run().up()
    assert (second.data / "secret" / "key").read_text() == secret
    assert second.page("/login") == 200
    assert second.stop(signal.SIGTERM) == 0


def test_kill_9_leaves_no_process_and_the_next_start_recovers(run: Callable[..., Copy]) -> None:
    copy = run().up()
    until(copy.settled)
    family = copy.family()
    copy.process.kill()
    until(lambda: gone(family), 10)
    assert run().up().page() == 200


def test_kill_9_of_supervisor_and_guard_together_leaves_nothing_either(run: Callable[..., Copy]) -> None:
    copy = run().up()
    until(copy.settled)
    family = copy.family()
    guard = copy.named("guard.py")[0]
    psutil.Process(copy.process.pid).suspend()
    guard.kill()
    copy.process.kill()
    until(lambda: gone(family), 40)


def test_a_guard_that_is_killed_is_replaced_and_does_its_work(run: Callable[..., Copy]) -> None:
    copy = run().up()
    until(copy.settled)
    first = copy.named("guard.py")[0]
    first.kill()
    until(lambda: any(guard != first for guard in copy.named("guard.py")))
    family = copy.family()
    copy.process.kill()
    until(lambda: gone(family), 10)


def test_what_dies_is_started_again(run: Callable[..., Copy]) -> None:
    copy = run().up()
    until(lambda: bool(copy.named("tasks.dispatcher")))
    for name, part in (("web", "-m web"), ("PostgreSQL", "bin/postgres")):
        copy.named(part)[0].kill()
        assert copy.line().startswith(f"{name} ended (signal SIGKILL"), name
    until(lambda: answers(copy))


def answers(copy: Copy) -> bool:
    try:
        return copy.page() == 200
    except OSError:
        return False


def test_two_copies_run_side_by_side(run: Callable[..., Copy], tmp_path: Path) -> None:
    one, two = (run(tmp_path / name, QUEUES="light") for name in ("one", "two"))
    assert one.up().page() == two.up().page() == 200


def test_a_second_copy_on_the_same_folder_says_so(run: Callable[..., Copy]) -> None:
    copy = run(QUEUES="light").up()
    assert f"already runs on {copy.data} (process {copy.process.pid})" in only_line(run())
    assert copy.page() == 200


def test_a_taken_port(run: Callable[..., Copy]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"Port {port} on 127.0.0.1 is taken" in only_line(run(PORT=str(port)))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "eighty", "PORT must be a number"),
        ("S3_URL", "somewhere", "S3_URL must start with"),
        ("SECRET_KEY", "short", "SECRET_KEY needs at least 32 characters"),
        ("HOST", "256.1.1.1", "HOST"),
        ("REDIS_URL", "redis://h:abc/0", "REDIS_URL has a host or port that cannot be read"),
        ("DATABASE_URL", "postgresql://h:abc/offshoot", "DATABASE_URL has a host or port that cannot be read"),
        ("DATABASE_URL", "postgresql://127.0.0.1/offshoot?port=abc", "DATABASE_URL"),
        ("QUEUES", "heavy", "QUEUES must name some of light, image"),
    ],
)
def test_a_malformed_setting(run: Callable[..., Copy], name: str, value: str, words: str) -> None:
    settings = {"PORT": str(free_port()), name: value}
    if not settings["PORT"].isdecimal():
        copy = Copy.__new__(Copy)
        copy.data, copy.port = Path("unused"), 0
        env = {**os.environ, **settings}
        copy.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", "run"], cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True
        )
        assert words in only_line(copy)
    else:
        assert words in only_line(run(**settings))


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("DATABASE_URL", "postgresql://offshoot:hidden@127.0.0.1:{}/offshoot"),
        ("REDIS_URL", "redis://:hidden@127.0.0.1:{}/0"),
        ("S3_URL", "http://key:hidden@127.0.0.1:{}/offshoot"),
    ],
)
def test_an_external_part_that_cannot_be_reached(run: Callable[..., Copy], name: str, url: str) -> None:
    port = free_port()
    words = only_line(run(**{name: url.format(port)}))
    assert name in words
    assert f"127.0.0.1:{port}" in words
    assert "hidden" not in words


@pytest.mark.parametrize(
    ("name", "part", "folder_name"),
    [
        ("DATABASE_URL", "bin/postgres", "postgres"),
        ("REDIS_URL", "valkey-server", "valkey"),
        ("S3_URL", "rclone", "s3"),
    ],
)
def test_a_part_with_an_address_is_not_started(
    run: Callable[..., Copy], urls: Urls, name: str, part: str, folder_name: str
) -> None:
    addresses = {"DATABASE_URL": urls.database, "REDIS_URL": urls.redis, "S3_URL": urls.s3}
    copy = run(QUEUES="light", **{name: addresses[name]}).up()
    until(lambda: bool(copy.named("tasks.dispatcher")))
    for other in ("bin/postgres", "valkey-server", "rclone"):
        assert bool(copy.named(other)) == (other != part), other
    assert not (copy.data / folder_name).exists()
    until(copy.healthy)


def test_a_folder_of_a_newer_offshoot(run: Callable[..., Copy], tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "version").write_text(f"{folder.LAYOUT + 1}\n")
    assert "was made by a newer Offshoot" in only_line(run())


def test_a_folder_of_a_newer_postgresql(run: Callable[..., Copy], tmp_path: Path) -> None:
    cluster = tmp_path / "data" / "postgres"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("19\n")
    assert "was made by PostgreSQL 19" in only_line(run())


def test_a_database_of_a_newer_offshoot(run: Callable[..., Copy], urls: Urls, tmp_path: Path) -> None:
    from deploy import migrations

    with Services(tmp_path / "data", Urls("", urls.redis, urls.s3), durable=False) as services:
        migrations.migrate(services.urls.database)
        execute(services.urls.database, "UPDATE alembic_version SET version_num = '9999'")
    assert "was made by a newer Offshoot (its schema is 9999)" in only_line(run())


def execute(url: str, sql: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql)  # type: ignore[call-overload]


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A file system of its own, where this may be made."""
    path.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path]).returncode:
        pytest.skip("making a small disk needs root and the right to mount")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_disk_with_too_little_room(run: Callable[..., Copy], tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "64m") as disk:
        assert f"The disk under {disk} is full: 6" in only_line(run(disk))


@pytest.mark.parametrize("size", ["20k", "20m"])
def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setattr(folder, "SPACE_NEEDED", 0)
    with small_disk(tmp_path / "small", size) as disk:
        with pytest.raises(Problem, match=r"^The disk under .* is full"):
            Services(disk).start()
        assert not (disk / "postgres").exists(), "a half-made cluster must not be taken for a whole one"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match=r"file"):
        Services(tmp_path / "file" / "data").start()


@pytest.mark.parametrize("command", ["run", "migrate"])
@pytest.mark.parametrize("name", checks.SITE_PACKAGES)
def test_a_missing_package(name: str, command: str) -> None:
    assert (
        without(name, command)
        == f"offshoot: The Python package {name} is missing. `make install` installs everything.\n"
    )


@pytest.mark.parametrize("name", checks.WORKER_PACKAGES)
def test_a_missing_package_of_the_worker(name: str) -> None:
    assert without(name, "run").startswith(f"offshoot: The Python package {name} is missing, so no model can run.")


def without(package: str, command: str) -> str:
    """What a command says, all of it, where a package is not installed."""
    code = f"import sys; sys.modules[{package!r}] = None; from deploy.cli import main; main([{command!r}])"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1), ended.stderr
    return ended.stderr


def test_a_missing_system_library(tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_text(
        "#!/bin/sh\necho 'server: error while loading shared libraries: libicu.so.74: cannot open' >&2; exit 127\n"
    )
    program.chmod(0o755)
    guard = Guard()
    child = Child("PostgreSQL", guard, tmp_path / "log")
    child.start([str(program)], {})
    assert child.process is not None
    child.process.wait()
    assert child.obituary() == "PostgreSQL does not start: the system library libicu.so.74 is missing. Install it."
    guard.dismiss()


async def test_data_outlives_the_services(tmp_path: Path) -> None:
    import redis

    from domain.storage import Storage

    with Services(tmp_path / "data") as services:
        execute(services.urls.database.replace("/offshoot?", "/postgres?"), "CREATE TABLE kept (it text)")
        with redis.Redis.from_url(services.urls.redis) as client:
            client.set("kept", "it")
        await Storage(services.urls.s3).put("ab/kept", b"it", "text/plain")
    with Services(tmp_path / "data") as services:
        execute(services.urls.database.replace("/offshoot?", "/postgres?"), "INSERT INTO kept VALUES ('it')")
        with redis.Redis.from_url(services.urls.redis) as client:
            assert client.get("kept") == b"it"
        assert await Storage(services.urls.s3).get("ab/kept") == b"it"


def test_a_leftover_postmaster_pid_with_somebody_elses_number(tmp_path: Path) -> None:
    with Services(tmp_path / "data", Urls("", "redis://x", "http://x")):
        pass
    (tmp_path / "data" / "postgres" / "postmaster.pid").write_text(f"{os.getppid()}\n/nowhere\n")
    with Services(tmp_path / "data", Urls("", "redis://x", "http://x")) as services:
        execute(services.urls.database.replace("/offshoot?", "/postgres?"), "SELECT 1")


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 30)
    with Services(data, Urls("", "redis://x", "http://x")) as services:
        execute(services.urls.database.replace("/offshoot?", "/postgres?"), "SELECT 1")
        sockets = Path(services.urls.database.partition("host=")[2])
        assert sockets.stat().st_mode & 0o777 == 0o700
    assert not sockets.exists()


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    with Services(tmp_path / "data", Urls("postgresql://x", "", "")) as services:
        said = [words_of(process) for process in psutil.Process().children(recursive=True)]
        for name in ("valkey", "s3"):
            file = tmp_path / "data" / "secret" / name
            assert file.stat().st_mode & 0o777 == 0o600
            assert not [words for words in said if file.read_text() in words]
        assert services.urls.database == "postgresql://x"
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_29_no_secret_is_ever_logged(run: Callable[..., Copy]) -> None:
    """SECURITY.md 29, with every part at its most talkative."""
    copy = run(LOG_LEVEL="debug").up()
    until(copy.settled)
    site = f"http://127.0.0.1:{copy.port}"
    cookie = f"session-{copy.port}"
    secrets = {"first password": "four small red boats", "wrong password": "five large blue ships"}
    with httpx.Client(base_url=site) as browser:
        account = {"handle": "ada", "email": "ada@example.org", "password": secrets["first password"]}
        assert sent(browser, "/signup", "/signup", account) == 303
        secrets["session of the sign-up"] = browser.cookies[cookie]
        sent(browser, "/settings/profile", "/logout", {})
        assert sent(browser, "/login", "/login", {"login": "ada", "password": secrets["wrong password"]}) == 422
        assert sent(browser, "/login", "/login", {"login": "ada", "password": secrets["first password"]}) == 303
        secrets["session of the login"] = browser.cookies[cookie]
        token = token_in(browser.get("/settings/profile"))
        stored = browser.post("/uploads", files={"file": ("a.png", png(), "image/png")}, headers={CSRF_HEADER: token})
        assert stored.status_code == 201, stored.text
        assert browser.get("/health").status_code == 200
    secrets |= {file.name: file.read_text() for file in (copy.data / "secret").iterdir()}
    assert {"key", "s3", "valkey"} <= set(secrets)
    assert copy.stop() == 0
    logs = {file.name: file.read_bytes() for file in (copy.data / "log").iterdir()}
    assert b"DEBUG" in logs["web.log"]
    for name, secret in secrets.items():
        for form in (secret, quote_plus(secret)):
            assert not [log for log, words in logs.items() if form.encode() in words], name


def sent(browser: httpx.Client, page: str, path: str, fields: dict[str, str]) -> int:
    """Send a page's form; the status of the answer."""
    return browser.post(path, data=fields | {"_csrf": token_in(browser.get(page))}).status_code


def token_in(page: httpx.Response) -> str:
    found = re.search(r'name="_csrf" value="(\w+)"', page.text)
    assert found, page.text
    return found[1]


def test_the_examples_are_really_run_and_fill_the_gallery(run: Callable[..., Copy]) -> None:
    copy = run(SEED_EXAMPLES="1").up()
    gallery = f"http://127.0.0.1:{copy.port}/?order=trending"

    def cards() -> int:
        with urllib.request.urlopen(gallery) as answer:
            return str(answer.read().decode()).count('class="card"')

    seen = [cards()]
    deadline = time.monotonic() + 180
    while seen[-1] < len(EXAMPLES):
        assert time.monotonic() < deadline, copy.complaint()
        time.sleep(0.5)
        seen.append(cards())
    assert seen[0] < len(EXAMPLES), "they arrive while one watches"
    assert seen == sorted(seen)


def test_logs_of_the_last_starts_are_kept(tmp_path: Path) -> None:
    data = Folder(tmp_path / "data").open()
    for start in range(6):
        data.log("web").write_text(str(start))
    data.close()
    kept = sorted(file.name for file in (tmp_path / "data" / "log").iterdir())
    assert kept == ["web.log", "web.log.1", "web.log.2", "web.log.3"]
    assert (tmp_path / "data" / "log" / "web.log.3").read_text() == "2"
    shutil.rmtree(tmp_path / "data")
