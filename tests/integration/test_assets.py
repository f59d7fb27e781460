"""Static files: cached under their hash, found without it, small."""

import re

import httpx

from web.assets import STATIC, YEAR


async def test_addresses_on_pages_are_immutable(client: httpx.AsyncClient) -> None:
    page = (await client.get("/login")).text
    addresses = set(re.findall(r"/static/[^\"#]+", page))
    assert len(addresses) >= 9
    for address in addresses:
        answer = await client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["cache-control"] == YEAR, address


async def test_without_the_hash_browsers_ask_again(client: httpx.AsyncClient) -> None:
    for address in ("/static/css/base.css", "/static/css/base.css?v=old"):
        answer = await client.get(address)
        assert answer.headers["cache-control"] == "no-cache"
        again = await client.get(address, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
        assert again.content == b""


async def test_text_is_sent_compressed(client: httpx.AsyncClient) -> None:
    address = "/static/vendor/htmx-4.0.1.min.js"
    packed = await client.get(address, headers={"Accept-Encoding": "gzip"})
    plain = await client.get(address, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert packed.headers["content-type"].startswith("text/javascript")


async def test_the_look_stays_small() -> None:
    assert sum(path.stat().st_size for path in (STATIC / "css").glob("*.css")) < 40_000
    assert (STATIC / "js" / "offshoot.js").stat().st_size < 2_048


async def test_the_drawings(client: httpx.AsyncClient) -> None:
    icons = await client.get("/static/icons.svg")
    assert icons.headers["content-type"].startswith("image/svg+xml")
    assert 'id="i-star"' in icons.text
    assert (await client.get("/favicon.ico")).headers["content-type"].startswith("image/svg+xml")


async def test_every_icon_that_a_template_names_exists() -> None:
    known = set(re.findall(r'id="i-(\w+)"', (STATIC / "icons.svg").read_text()))
    named = set()
    for template in (STATIC.parent / "templates").rglob("*.html"):
        text = template.read_text()
        named |= set(re.findall(r"#i-(\w+)", text)) | set(re.findall(r"icon\(\"(\w+)\"\)", text))
    assert named <= known
