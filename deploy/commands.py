"""Commands that need the database: of the environment, of a running Offshoot, or started for a moment."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy import migrations
from deploy.embedded import Services, Urls
from deploy.problems import Problem
from deploy.surroundings import Surroundings
from domain import db, defaults, disks, models, people, search_documents
from domain.means import PLAIN, Means, spell
from domain.told import Said

NOT_NEEDED = "unix:///not-needed"


@contextmanager
def database(surroundings: Surroundings) -> Iterator[str]:
    """The database's URL, migrated."""
    if surroundings.external.database:
        migrations.migrate(surroundings.external.database)
        yield surroundings.external.database
        return
    folder = surroundings.config.data_dir
    services = Services(folder, Urls("", NOT_NEEDED, NOT_NEEDED))
    try:
        urls = services.start()
    except Problem:
        running = _running(folder)
        if running is None:
            raise
        yield running.database
        return
    try:
        migrations.migrate(urls.database)
        yield urls.database
    finally:
        services.stop()


def _running(folder: Path) -> Urls | None:
    """The addresses that a running supervisor left in its folder."""
    try:
        return Urls(**json.loads((folder / "run" / "urls.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _with_database(work: Callable[[], Awaitable[None]]) -> int:
    async def bound(url: str) -> None:
        await db.bind(url, max_size=2)
        try:
            await work()
        finally:
            await db.unbind()

    with database(Surroundings.of_process()) as url:
        asyncio.run(bound(url))
    return 0


def migrate() -> int:
    """`offshoot migrate`"""
    with database(Surroundings.of_process()):
        print("The database has the schema of this version.")
    return 0


def add_model(name: str, path: Path, said: Said, chosen: Means) -> int:
    """`offshoot models add NAME PATH`"""

    found = path.expanduser().resolve()

    async def work() -> None:
        model = await models.register(name, found, means=chosen, said=said)
        print(f"{model.name}: {', '.join(model.kinds)}, {model.bytes / 1e6:.0f} MB, revision {model.revision[:12]}")
        if chosen != PLAIN:
            print(f"It runs with {spell(chosen)}.")
        if said.defaults:
            print(f"Its steps begin with {defaults.spell(model.defaults)}.")

    return _with_database(work)


def remove_model(name: str) -> int:
    """`offshoot models remove NAME`"""

    async def work() -> None:
        await models.remove(name)
        print(f"{name} is offered no longer.")

    return _with_database(work)


def list_models() -> int:
    """`offshoot models list`"""

    own = Surroundings.of_process().config.models

    async def work() -> None:
        every = await models.everything()
        for model in every:
            size, license = f"{model.bytes / 1e6:,.0f} MB", model.license or "no license"
            print(f"{model.name:20} {size:>10}  {license:24} {model.family:28} {', '.join(model.kinds)}")
            print(f"{'':20} {model.path}")
        for disk in disks.of(every, own):
            share = f"{disk.used / 1e6:,.0f} MB of models, {disk.free / 1e9:,.1f} GB of {disk.total / 1e9:,.0f} GB free"
            print(f"On the disk of {disk.place}: {share}")
        print(f"{len(every)} models, {disks.bytes_of(every) / 1e6:,.0f} MB")

    return _with_database(work)


def verify_models(name: str) -> int:
    """`offshoot models verify [NAME]`: 1 where files are gone or are not those that were registered."""
    broken = 0
    own = Surroundings.of_process().config.models

    async def work() -> None:
        nonlocal broken
        chosen = [model for model in await models.everything() if name in ("", model.name)]
        if not chosen:
            raise Problem(f"There is no model called “{name}”." if name else "No model is registered.")
        for model in chosen:
            fault = models.fault(model, own)
            broken += bool(fault)
            print(f"{model.name}: {fault or 'its files are those that were registered'}")

    return _with_database(work) or int(broken > 0)


def grant_admin(handle: str) -> int:
    """`offshoot admin grant HANDLE`"""

    async def work() -> None:
        print(f"@{await people.grant_admin(handle)} is an admin now.")

    return _with_database(work)


def revoke_admin(handle: str) -> int:
    """`offshoot admin revoke HANDLE`"""

    async def work() -> None:
        print(f"@{await people.revoke_admin(handle)} is a member now.")

    return _with_database(work)


def examples() -> int:
    """`offshoot examples`: queue the examples; they run where a worker runs."""
    from deploy import examples as planted

    async def work() -> None:
        count = len(await planted.plant())
        print(f"{count} example runs are queued." if count else "The gallery is not empty, so nothing was added.")

    return _with_database(work)


def index() -> int:
    """`offshoot index`"""

    async def work() -> None:
        count = await search_documents.rebuild()
        print(f"Search reads {count} pipelines anew.")

    return _with_database(work)
