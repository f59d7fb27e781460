"""The policy allows the one style that the vendored viewer brings, by its hash."""

import base64
import hashlib
import re

from web.assets import STATIC
from web.headers import VIEWER_STYLE


def test_the_hash_is_that_of_the_viewer_that_is_there() -> None:
    (viewer,) = (STATIC / "vendor").glob("model-viewer-*.min.js")
    (style,) = re.findall(r"<style>(.*?)</style>", viewer.read_text(), re.DOTALL)
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in VIEWER_STYLE
    templates = (STATIC.parent / "templates" / "macros.html").read_text()
    assert f"vendor/{viewer.name}" in templates
