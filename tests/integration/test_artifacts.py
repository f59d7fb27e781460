"""Artifacts over HTTP: tags, parts, renditions, names, and who gets them."""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain import artifacts
from domain.people import Person
from tests.make import Artifact, Make
from web.artifacts import byte_range
from web.signatures import DAY, sign, signed

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
DATA = bytes(range(256)) * 40


async def _output(db: Any, make: Make, data: bytes, media_type: str, *, published: bool = True) -> tuple[Artifact, Any]:
    """A stored file that a run of a public pipeline gave, and the run."""
    file = await make.artifact(data, media_type, stored=True)
    run = await make.run(await make.pipeline(), state="succeeded", published=published)
    await db.execute(
        "INSERT INTO outputs (step_run_id, position, sha256) VALUES ($1, 2, $2)", run.step_runs[0], file.sha256
    )
    return file, run


@pytest.fixture
async def file(db: Any, make: Make) -> Artifact:
    """A published sound of 10,240 bytes."""
    return (await _output(db, make, DATA, "audio/wav"))[0]


async def test_a_public_file_is_immutable_and_locked_in(client: httpx.AsyncClient, file: Artifact) -> None:
    answer = await client.get(f"/artifacts/{file.sha256}")
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["etag"] == f'"{file.sha256}"'
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert "set-cookie" not in answer.headers
    assert "content-disposition" not in answer.headers


@pytest.mark.parametrize("header", ['"{}"', 'W/"{}"', '"x", "{}"', "*"])
async def test_a_known_file_is_304(client: httpx.AsyncClient, file: Artifact, header: str) -> None:
    answer = await client.get(f"/artifacts/{file.sha256}", headers={"If-None-Match": header.format(file.sha256)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["cache-control"].startswith("public")
    assert (await client.get(f"/artifacts/{file.sha256}", headers={"If-None-Match": '"x"'})).status_code == 200


async def test_head_tells_the_size_without_the_bytes(client: httpx.AsyncClient, file: Artifact) -> None:
    answer = await client.head(f"/artifacts/{file.sha256}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(DATA))


@pytest.mark.parametrize(
    ("header", "part", "shown"),
    [
        ("bytes=0-0", DATA[:1], "0-0"),
        ("bytes=10-19", DATA[10:20], "10-19"),
        ("bytes=10000-", DATA[10000:], "10000-10239"),
        ("bytes=-5", DATA[-5:], "10235-10239"),
        ("bytes=-99999", DATA, "0-10239"),
        ("bytes=10230-99999", DATA[10230:], "10230-10239"),
    ],
)
async def test_parts(client: httpx.AsyncClient, file: Artifact, header: str, part: bytes, shown: str) -> None:
    answer = await client.get(f"/artifacts/{file.sha256}", headers={"Range": header})
    assert (answer.status_code, answer.content) == (206, part)
    assert answer.headers["content-range"] == f"bytes {shown}/{len(DATA)}"
    assert answer.headers["content-length"] == str(len(part))


@pytest.mark.parametrize(
    "header", ["bytes=10240-", "bytes=5-2", "bytes=-0", "bytes=-", "bytes=a-b", "bytes=99999-100000"]
)
async def test_a_part_that_is_not_there_is_416(client: httpx.AsyncClient, file: Artifact, header: str) -> None:
    answer = await client.get(f"/artifacts/{file.sha256}", headers={"Range": header})
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "lines=1-2", "nonsense"])
async def test_ranges_we_do_not_serve_are_ignored(client: httpx.AsyncClient, file: Artifact, header: str) -> None:
    answer = await client.get(f"/artifacts/{file.sha256}", headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, DATA)


async def test_if_range_decides_between_part_and_whole(client: httpx.AsyncClient, file: Artifact) -> None:
    path, part = f"/artifacts/{file.sha256}", {"Range": "bytes=0-3"}
    same = await client.get(path, headers={**part, "If-Range": f'"{file.sha256}"'})
    other = await client.get(path, headers={**part, "If-Range": '"other"'})
    dated = await client.get(path, headers={**part, "If-Range": "Wed, 21 Oct 2026 07:28:00 GMT"})
    assert [answer.status_code for answer in (same, other, dated)] == [206, 200, 200]


@given(size=st.integers(1, 5_000), first=st.integers(0, 6_000) | st.none(), last=st.integers(0, 6_000) | st.none())
def test_any_range_names_exactly_the_bytes_it_asks_for(size: int, first: int | None, last: int | None) -> None:
    data = bytes(number % 251 for number in range(size))
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    part = byte_range(header, size)
    assert part is not None
    start, end = part
    assert start >= 0
    if start >= end:
        nothing = not last if first is None else first >= size or (last is not None and last < first)
        assert nothing
        return
    assert end <= size
    if first is None:
        assert last
        assert data[start:end] == data[-last:]
    else:
        assert data[start:end] == data[first : size if last is None else last + 1]


@given(st.text(max_size=40))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_no_range_header_breaks_anything(header: str) -> None:
    for text in (header, f"bytes={header}"):
        part = byte_range(text, 100)
        assert part is None or part[0] >= part[1] or 0 <= part[0] < part[1] <= 100


# renditions


async def test_the_next_larger_rendition_answers(client: httpx.AsyncClient, db: Any, make: Make) -> None:
    original, _ = await _output(db, make, b"original", "audio/wav")
    small = await make.artifact(b"small", "audio/mpeg", stored=True)
    large = await make.artifact(b"large", "audio/mpeg", stored=True)
    await artifacts.add_rendition(original.sha256, 320, small.sha256)
    await artifacts.add_rendition(original.sha256, 640, large.sha256)
    for width, expected in ((1, small), (320, small), (321, large), (640, large), (1280, large), (99_999, large)):
        answer = await client.get(f"/artifacts/{original.sha256}/{width}")
        assert answer.content == expected.data, width
        assert answer.headers["etag"] == f'"{expected.sha256}"'
        assert answer.headers["cache-control"].startswith("public")
    assert (await client.get(f"/artifacts/{small.sha256}")).content == b"small"
    for wrong in ("0", "-1", "100001", "99999999999999", "wide"):
        assert (await client.get(f"/artifacts/{original.sha256}/{wrong}")).status_code == 404, wrong


async def test_a_file_without_renditions_answers_itself(client: httpx.AsyncClient, file: Artifact) -> None:
    assert (await client.get(f"/artifacts/{file.sha256}/320")).content == DATA


# other forms


async def _formed(db: Any, make: Make, *, published: bool) -> tuple[Artifact, Artifact, Any]:
    """A 3D object that a run gave, its STL, and the run."""
    glb, run = await _output(db, make, b"glTF and more", "model/gltf-binary", published=published)
    stl = await make.artifact(b"offshoot, then triangles", "model/stl", stored=True)
    await artifacts.add_form(glb.sha256, "stl", stl.sha256)
    return glb, stl, run


async def test_another_form_is_for_those_who_may_see_the_first(
    client: httpx.AsyncClient, clients: Any, db: Any, make: Make, log_in: LogIn
) -> None:
    glb, stl, run = await _formed(db, make, published=False)
    owner = Person(**dict(await db.fetchrow("SELECT id, email, handle, name, about, role, created_at FROM people")))
    await log_in(client, owner)
    stranger = await log_in(clients(), await make.person("stranger"))
    paths = (f"/artifacts/{stl.sha256}", f"/artifacts/{glb.sha256}?form=stl")
    for path in paths:
        assert (await client.get(path)).content == stl.data
        for other in (stranger, clients()):
            assert (await other.get(path)).status_code == 404
    await db.execute("UPDATE runs SET visibility = 'published' WHERE id = $1", run.id)
    for path in paths:
        answer = await stranger.get(path)
        assert (answer.content, answer.headers["content-type"]) == (stl.data, "model/stl")
        assert answer.headers["content-disposition"].endswith('.stl"')
    assert (await stranger.get(f"/artifacts/{glb.sha256}?form=obj")).status_code == 404


# names and types


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("?download=fog-run-3", "fog-run-3.wav"),
        ("?download", None),
        ("?download=../../etc/passwd", "etc-passwd.wav"),
        ("?download=a%22;x=%0d%0aX-Evil:1", "a-x-X-Evil-1.wav"),
        ("?download=туман", None),
    ],
)
async def test_a_download_has_a_friendly_name(
    client: httpx.AsyncClient, file: Artifact, query: str, name: str | None
) -> None:
    answer = await client.get(f"/artifacts/{file.sha256}{query}")
    expected = name or f"offshoot-{file.sha256[:8]}.wav"
    assert answer.headers["content-disposition"] == f'attachment; filename="{expected}"'
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize("media_type", ["text/html", "application/xml", "model/gltf-binary", "text/plain"])
async def test_what_a_browser_might_run_is_only_saved(
    client: httpx.AsyncClient, db: Any, make: Make, media_type: str
) -> None:
    file, _ = await _output(db, make, b"<script>1</script>", media_type)
    answer = await client.get(f"/artifacts/{file.sha256}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


# privacy


async def test_a_private_file_is_its_owners_and_in_no_shared_cache(
    client: httpx.AsyncClient, clients: Any, db: Any, make: Make, log_in: LogIn
) -> None:
    file, run = await _output(db, make, b"private bytes", "audio/wav", published=False)
    owner = Person(**dict(await db.fetchrow("SELECT id, email, handle, name, about, role, created_at FROM people")))
    await log_in(client, owner)
    answer = await client.get(f"/artifacts/{file.sha256}")
    assert answer.content == b"private bytes"
    assert answer.headers["cache-control"] == "private, max-age=3600"
    assert answer.headers["vary"] == "Cookie"
    stranger, visitor = clients(), clients()
    await log_in(stranger, await make.person("stranger"))
    for path in (f"/artifacts/{file.sha256}", f"/artifacts/{file.sha256}/320"):
        for other in (stranger, visitor):
            for headers in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": f'"{file.sha256}"'}):
                answer = await other.get(path, headers=headers)
                assert answer.status_code == 404
                assert b"private bytes" not in answer.content
                assert "public" not in answer.headers.get("cache-control", "")
    gone = await visitor.get(f"/artifacts/{'0' * 64}")
    private = await visitor.get(f"/artifacts/{file.sha256}")
    plain = re.compile(r"request [0-9a-f]+|[0-9a-f]{64}")
    assert plain.sub("", gone.text) == plain.sub("", private.text)
    await db.execute("UPDATE runs SET visibility = 'published' WHERE id = $1", run.id)
    assert (await visitor.get(f"/artifacts/{file.sha256}")).headers["cache-control"].startswith("public")


async def test_deciding_takes_one_query(client: httpx.AsyncClient, file: Artifact, queries: Any) -> None:
    for path in (f"/artifacts/{file.sha256}", f"/artifacts/{file.sha256}/320"):
        with queries:
            await client.get(path)
        assert queries.count == 1, queries


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64, "A" * 64, "0" * 65, "..%2f..%2fetc"])
async def test_other_addresses_are_not_found(client: httpx.AsyncClient, sha256: str) -> None:
    assert (await client.get(f"/artifacts/{sha256}")).status_code == 404


async def test_a_lost_object_is_not_found_rather_than_half_an_answer(
    client: httpx.AsyncClient, db: Any, make: Make, storage: Any
) -> None:
    file, _ = await _output(db, make, b"soon to be lost", "audio/wav")
    await storage.delete(f"{file.sha256[:2]}/{file.sha256}")
    answer = await client.get(f"/artifacts/{file.sha256}")
    assert answer.status_code == 404
    assert "public" not in answer.headers["cache-control"]


# another origin


async def test_a_signed_address_opens_a_private_file_without_a_session(
    client: httpx.AsyncClient, config: Any, db: Any, make: Make
) -> None:
    file, _ = await _output(db, make, b"private bytes", "audio/wav", published=False)
    token = sign(config.secret_key, file.sha256)
    for path in (f"/signed/{token}/{file.sha256}", f"/signed/{token}/{file.sha256}/320"):
        answer = await client.get(path)
        assert (answer.status_code, answer.content) == (200, b"private bytes")
        assert answer.headers["cache-control"].startswith("private")
    yesterday = sign(config.secret_key, file.sha256, time.time() - 2 * DAY)
    other = sign(config.secret_key, "0" * 64)
    foreign = sign("another secret, as long as the first one", file.sha256)
    for wrong in (yesterday, other, foreign, token[:-1], "x", "-", "é-é", token.replace("-", "")):
        assert (await client.get(f"/signed/{wrong}/{file.sha256}")).status_code == 404, wrong


async def test_a_signed_address_opens_another_form_for_pages_of_the_site(
    client: httpx.AsyncClient, config: Any, db: Any, make: Make
) -> None:
    glb, stl, _ = await _formed(db, make, published=False)
    for sha256, query, data in ((glb.sha256, "?form=stl", stl.data), (glb.sha256, "", glb.data)):
        answer = await client.get(f"/signed/{sign(config.secret_key, sha256)}/{sha256}{query}")
        assert (answer.status_code, answer.content) == (200, data)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert (await client.get(f"/signed/x/{glb.sha256}?form=stl")).status_code == 404


async def test_a_signature_is_no_secret_for_public_files(client: httpx.AsyncClient, file: Artifact) -> None:
    answer = await client.get(f"/signed/anything/{file.sha256}")
    assert answer.headers["cache-control"].startswith("public")


def test_a_token_stays_the_same_all_day_and_ends_after_the_next() -> None:
    noon = 20_000 * DAY + DAY / 2
    token = sign("secret", "a" * 64, noon)
    assert token == sign("secret", "a" * 64, noon + DAY / 3)
    assert token != sign("secret", "a" * 64, noon + DAY)
    assert signed("secret", "a" * 64, token, noon + DAY)
    assert not signed("secret", "a" * 64, token, noon + 2 * DAY)
    assert not signed("secret", "b" * 64, token, noon)
