"""`offshoot verify`: read the stored files again and say which are not what they should be."""

import asyncio

from deploy.embedded import Urls
from deploy.migrations import head, prepare
from deploy.problems import Problem
from deploy.reach import reach
from deploy.surroundings import Surroundings
from domain import db
from domain.storage import Storage
from domain.verification import Report, verify


def run(sample: int | None) -> int:
    """Print the report; 1 when anything is missing or wrong, else 0. Raises Problem, Unavailable."""
    with reach(Surroundings.of_process()) as urls:
        report = asyncio.run(_verify(urls, sample))
    say(report)
    return 1 if report.broken else 0


async def _verify(urls: Urls, sample: int | None) -> Report:
    schema = await prepare(urls.database)
    if schema != head():
        raise Problem(
            f"The database has the schema {schema}, and this Offshoot {head()}: run `offshoot migrate` first."
        )
    await db.bind(urls.database, max_size=4)
    try:
        return await verify(Storage(urls.s3), sample)
    finally:
        await db.unbind()


def say(report: Report) -> None:
    """One line for each broken file, one for everybody who misses it, and the sums."""
    for each in report.broken:
        print(f"{each.how}: {each.sha256} ({each.media_type})")
        for user in each.users:
            print(f"  used by {user}")
    print(
        f"checked {report.checked}, missing {report.count('missing')}, wrong {report.count('wrong')}, "
        f"unreferenced {report.unreferenced}, {report.bytes:,} bytes, {report.seconds:.1f} s"
    )
