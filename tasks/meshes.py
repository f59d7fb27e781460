"""A surface as files: GLB with its receipt inside, PLY and STL beside it, and a strip of pictures from all around."""

import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any

import msgspec
from PIL import Image

from domain import receipts
from domain.receipts import Receipt
from tasks.context import Mesh
from tasks.messages import File, Form, Rendition

ROUGHNESS = 0.9
"""Of the material in the GLB, which is no metal: its colors come out as they are."""
PLY_LINE = 880
"""Characters of the receipt in one line of a PLY's head: some readers take lines of up to 1023 alone."""
STL_HEADER = 80
"""Bytes at the start of an STL that say what one likes."""


def versions() -> dict[str, str]:
    """The library that writes the files."""
    import trimesh

    return {"trimesh": str(trimesh.__version__)}


def encode(made: Mesh, receipt: Receipt, renditions: list[Rendition]) -> File:
    """The GLB as it is stored, of the size of its views, with the other forms."""
    glb = _glb(made, receipt)
    forms = [
        Form("turntable", "image/webp", _strip(made.views)),
        Form("ply", "application/x-ply", _ply(made, receipt)),
        Form("stl", "model/stl", _stl(made, hashlib.sha256(glb).hexdigest())),
    ]
    return File(glb, "model/gltf-binary", *made.views[0].size, made.seed, renditions, forms)


def _glb(made: Mesh, receipt: Receipt) -> bytes:
    """Y up and the front toward the viewer, as glTF has it, with linear colors. The receipt is among the extras."""

    def finish(tree: dict[str, Any]) -> None:
        tree["asset"]["extras"] = {
            "offshoot": msgspec.to_builtins(receipt),
            "digitalSourceType": receipts.DIGITAL_SOURCE,
        }
        tree["materials"] = [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}}]
        for mesh in tree["meshes"]:
            for primitive in mesh["primitives"]:
                primitive["material"] = 0

    upright = made.vertices[:, [0, 2, 1]] * (1, 1, -1)
    shown = _trimesh(upright, made.faces, made.colors)
    shown.vertex_normals = _normals(upright, made.faces)
    return bytes(shown.export(file_type="glb", include_normals=True, tree_postprocessor=finish))


def _ply(made: Mesh, receipt: Receipt) -> bytes:
    """Z up, with colors as screens show them. The receipt is in comments in its head."""
    exported: bytes = _trimesh(made.vertices, made.faces, _srgb(made.colors)).export(
        file_type="ply", vertex_normal=False
    )
    name, format, rest = exported.split(b"\n", 2)  # in this order before all else, as some readers want them
    told = json.dumps(msgspec.to_builtins(receipt))  # ASCII, as PLY wants its head
    parts = [told[at : at + PLY_LINE] for at in range(0, len(told), PLY_LINE)]
    comments = ["comment offshoot " + parts[0], *("comment offshoot+ " + part for part in parts[1:])]
    return b"\n".join([name, format, *(comment.encode() for comment in comments), rest])


def _stl(made: Mesh, sha256: str) -> bytes:
    """Z up, without colors, which STL has none of. Its header has no room for a receipt and names the GLB with it."""
    exported: bytes = _trimesh(made.vertices, made.faces).export(file_type="stl")
    return f"offshoot {sha256}".encode().ljust(STL_HEADER, b"\0") + exported[STL_HEADER:]


def _trimesh(vertices: Any, faces: Any, colors: Any = None) -> Any:
    import numpy
    import trimesh

    shown = None if colors is None else numpy.round(colors * 255).astype("uint8")
    return trimesh.Trimesh(vertices, faces, vertex_colors=shown, process=False)


def _normals(vertices: Any, faces: Any) -> Any:
    """At each vertex the mean direction of its faces, larger ones counting more: the surface is seen smooth."""
    import numpy

    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    across = numpy.cross(second - first, third - first)
    normals = numpy.zeros_like(vertices)
    for corner in range(3):
        numpy.add.at(normals, faces[:, corner], across)
    return normals / numpy.maximum(numpy.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _srgb(linear: Any) -> Any:
    """IEC 61966-2-1, from light to what a screen is told."""
    import numpy

    return numpy.where(linear <= 0.0031308, 12.92 * linear, 1.055 * numpy.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def _strip(views: Sequence[Image.Image]) -> bytes:
    """All views side by side as one WebP: the page shows one of them at a time."""
    width, height = views[0].size
    sheet = Image.new("RGB", (width * len(views), height))
    for number, view in enumerate(views):
        sheet.paste(view, (number * width, 0))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=80, method=4)
    return buffer.getvalue()
