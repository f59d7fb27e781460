"""A surface as files: which way is up, which side is out, its colors, its receipt and its pictures."""

import hashlib
import io
import json
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from domain.receipts import Receipt
from tasks import meshes
from tasks.context import Mesh
from tasks.messages import File

PROMPT = "порцелянова чашка з \x07 блакитним візерунком\r\n\\ і   тріщиною " * 100
RECEIPT = Receipt(kind="text_to_3d", code=1, parameters={"prompt": PROMPT}, model="shap-e", model_revision="r")
CORNERS = np.array([(0, -2, 0), (-1, 1, 0), (1, 1, 0), (0, 0, 3)], np.float32)
"""A tetrahedron, z up: a nose in front, two corners behind it, a tip."""
FACES = np.array([(0, 1, 2), (0, 2, 3), (2, 1, 3), (1, 0, 3)])
COLORS = np.array([(0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5), (1, 1, 1)], np.float32)
VIEWS = [Image.new("RGB", (32, 32), (30 * number, 0, 0)) for number in range(8)]


@pytest.fixture(scope="module")
def made() -> File:
    return meshes.encode(Mesh(CORNERS, FACES, COLORS, VIEWS, seed=3), RECEIPT, [])


@pytest.fixture(scope="module")
def forms(made: File) -> dict[str, bytes]:
    return {form.name: form.data for form in made.forms}


def opened(data: bytes, file_type: str) -> Any:
    return trimesh.load(io.BytesIO(data), file_type=file_type, force="mesh")


def tree(glb: bytes) -> Any:
    return json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])


def test_up_is_y_in_a_glb_and_z_in_the_others(made: File, forms: dict[str, bytes]) -> None:
    glb = opened(made.data, "glb")
    assert glb.bounds.tolist() == [[-1, 0, -1], [1, 3, 2]]  # the nose toward the viewer, who sees along -z
    for name in ("ply", "stl"):
        assert opened(forms[name], name).bounds.tolist() == [[-1, -2, 0], [1, 1, 3]]


def test_every_form_is_closed_and_its_outside_is_out(made: File, forms: dict[str, bytes]) -> None:
    for name, data in {**forms, "glb": made.data}.items():
        if name != "turntable":
            shape = opened(data, name)
            assert (len(shape.faces), shape.is_watertight, round(shape.volume, 4)) == (4, True, 3), name


def test_normals_in_a_glb_point_out_and_are_smooth(made: File) -> None:
    shape = trimesh.load(io.BytesIO(made.data), file_type="glb", force="mesh", process=False)
    assert {"NORMAL", "COLOR_0", "POSITION"} == set(tree(made.data)["meshes"][0]["primitives"][0]["attributes"])
    assert len(shape.vertices) == 4
    assert ((shape.vertices - shape.centroid) * shape.vertex_normals).sum(axis=1).min() > 0.5
    assert np.allclose(np.linalg.norm(shape.vertex_normals, axis=1), 1, atol=1e-5)


def test_colors_are_linear_in_a_glb_and_as_screens_show_them_in_a_ply(made: File, forms: dict[str, bytes]) -> None:
    def shown(half: int) -> list[list[int]]:
        return [[half, 0, 0], [0, half, 0], [0, 0, half], [255, 255, 255]]

    told = tree(made.data)
    accessor = told["accessors"][told["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    where, start = told["bufferViews"][accessor["bufferView"]], 28 + int.from_bytes(made.data[12:16], "little")
    glb = np.frombuffer(made.data[start:], np.uint8, where["byteLength"], where["byteOffset"]).reshape(4, 4)
    assert glb[:, :3].tolist() == shown(128)
    ply = trimesh.load(io.BytesIO(forms["ply"]), file_type="ply", process=False)
    assert ply.visual.vertex_colors[:, :3].tolist() == shown(188)


def test_the_receipt_is_in_the_extras_of_a_glb(made: File) -> None:
    told = tree(made.data)["asset"]["extras"]
    assert told["offshoot"]["parameters"]["prompt"] == PROMPT
    assert told["digitalSourceType"].endswith("trainedAlgorithmicMedia")
    assert (made.media_type, made.width, made.height, made.seed) == ("model/gltf-binary", 32, 32, 3)


def test_the_receipt_is_in_short_lines_of_a_plys_head(forms: dict[str, bytes]) -> None:
    head = forms["ply"].partition(b"end_header\n")[0].decode("ascii").splitlines()
    first, *more = [line for line in head if line.startswith("comment offshoot")]
    assert head[:2] == ["ply", "format binary_little_endian 1.0"]
    assert len(more) > 10
    assert max(map(len, head)) <= 900
    told = first.removeprefix("comment offshoot ") + "".join(line.removeprefix("comment offshoot+ ") for line in more)
    assert json.loads(told)["parameters"]["prompt"] == PROMPT


def test_an_stl_names_the_glb(made: File, forms: dict[str, bytes]) -> None:
    assert forms["stl"].startswith(b"offshoot " + hashlib.sha256(made.data).hexdigest().encode() + b"\0")
    assert len(forms["stl"]) == meshes.STL_HEADER + 4 + 4 * 50


def test_the_views_stand_side_by_side_in_order(forms: dict[str, bytes]) -> None:
    strip = Image.open(io.BytesIO(forms["turntable"])).convert("RGB")
    assert strip.size == (8 * 32, 32)
    shown = [strip.getpixel((32 * number + 16, 16))[0] for number in range(8)]
    assert all(abs(red - 30 * number) < 6 for number, red in enumerate(shown))
