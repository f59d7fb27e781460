"""The registry of models: what may be registered, and what is refused."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy import seeds
from domain import db as database
from domain import defaults, models, weights
from domain.config import Config
from domain.errors import Invalid, NotFound
from domain.means import Means
from domain.told import Said, Told

NEW = "new"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the starter model that a test may spoil."""
    return Path(shutil.copytree(models.STARTER_PATH, tmp_path / "model"))


async def test_the_starter_model_is_registered_at_start(db: Any) -> None:
    starter, shapes, *loras = await models.register_all({})
    assert (starter.name, starter.family, starter.license) == ("starter", "StableDiffusionPipeline", "Apache-2.0")
    assert starter.revision == weights.revision(models.STARTER_PATH)
    assert 20_000_000 < starter.bytes < 30_000_000
    again = await models.register_all({})
    assert again == [starter, shapes, *loras]
    assert await models.everything() == [*loras, shapes, starter]
    assert [(one.name, one.family) for one in loras] == [("cyanotype", "LoRA"), ("fish", "LoRA")]
    assert (shapes.name, shapes.family, shapes.license) == ("shapes-gan", "ConditionalGenerator", "Apache-2.0")
    for kind in (*models.IMAGE_KINDS, *models.ANIMATION_KINDS):
        (choice,) = await models.names(kind)
        assert (choice.name, choice.defaults["width"], choice.defaults["guidance_scale"]) == ("starter", 256, 3.0)
    assert await models.names("upscale") == []


async def test_a_folder_gets_the_defaults_that_it_tells(db: Any, folder: Path) -> None:
    found = await models.register(NEW, folder, "MIT")
    assert (found.defaults["width"], found.defaults["height"]) == (256, 256)
    assert found.defaults["scheduler"] == "DDIMScheduler"
    assert await models.require(NEW, "text_to_image") == found


async def test_what_no_step_can_have_is_no_default(db: Any, folder: Path) -> None:
    """Such as a scheduler that is not offered: steps that began with it would be refused."""
    (folder / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "EDMEulerScheduler"}')
    found = await models.register(NEW, folder)
    sides = {"width": 256, "height": 256, "longest_side": 256}
    assert found.defaults == {**sides, "num_inference_steps": 30, "guidance_scale": 7.0, "frames": 8}
    same = Said(found.license, "", defaults.spell(found.defaults))
    assert (await models.tell(NEW, same)).told == Told()
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"sample_size": 16}))
    (folder / "vae" / "config.json").write_text('{"block_out_channels": [1, 2]}')
    assert models.check(folder).defaults.keys() == {"num_inference_steps", "guidance_scale", "frames"}


@pytest.mark.parametrize("name", [".", "..", "a/b", "", "a b"])
def test_a_name_is_part_of_an_address(name: str) -> None:
    with pytest.raises(Invalid):
        models.check_name(name)


def test_configurations_without_an_end_are_not_read(tmp_path: Path) -> None:
    """A pipe, a device and nesting without end are no configuration."""
    os.mkfifo(tmp_path / "config.json")
    (tmp_path / "words.txt").symlink_to("/dev/zero")
    (tmp_path / "model_index.json").write_text("[" * 100_000)
    with pytest.raises(Invalid, match="has no"):
        models.check(tmp_path)


async def test_other_bytes_are_another_revision(db: Any, folder: Path) -> None:
    before = weights.revision(folder)
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    assert weights.revision(folder) != before


async def test_a_single_file_can_be_registered(db: Any, folder: Path) -> None:
    found = await models.register(NEW, folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert (found.family, found.defaults["width"]) == ("single-file", 512)


async def test_models_of_the_setting_are_registered_and_named_when_at_fault(db: Any, folder: Path) -> None:
    assert [model.name for model in await models.register_all({NEW: folder})] == [*models.SHIPPED, NEW]
    assert [model.name for model in await models.register_all({NEW: folder})] == [*models.SHIPPED, NEW]
    (folder / "unet" / "extra.ckpt").write_bytes(b"")
    with pytest.raises(Invalid, match=r"MODELS: new: extra\.ckpt is refused"):
        await models.register_all({NEW: folder})
    with pytest.raises(Invalid, match=r"MODELS: gone: .* is neither a diffusers folder"):
        await models.register_all({"gone": folder / "nowhere"})


async def test_files_whose_names_are_no_text_are_refused(db: Any, folder: Path) -> None:
    (folder / "bad\udcff.txt").write_text("")
    with pytest.raises(Invalid, match=r"MODELS: new: 'bad\\udcff\.txt' has a name that is no text"):
        await models.register_all({NEW: folder})


async def test_models_at_fault_do_not_keep_the_others_out(db: Any, folder: Path) -> None:
    both = {"gone": folder / "nowhere", "a b": folder, NEW: folder}
    with pytest.raises(Invalid, match=r"^MODELS: gone: .*; a b: 1 to 80 letters") as said:
        await models.register_all(both)
    assert "\n" not in said.value.message
    assert [model.name for model in await models.everything()] == sorted([NEW, *models.SHIPPED])


async def test_a_models_means_are_kept_and_follow_the_setting(db: Any, folder: Path) -> None:
    found = await models.register(NEW, folder, means=Means(dtype="bf16"))
    assert await models.require(NEW, "text_to_image") == found
    *_, again = await models.register_all({NEW: folder}, {NEW: Means(fuse=True)})
    assert again.means == Means(fuse=True) == (await models.require(NEW, "text_to_image")).means
    assert (await models.register_all({NEW: folder}))[-1].means == Means()
    with pytest.raises(Invalid, match="first_block_cache needs a model with a transformer"):
        await models.register(NEW, folder, means=Means(first_block_cache=0.1))


@pytest.mark.parametrize("ending", sorted(weights.PICKLED))
async def test_pickled_weights_are_refused_wherever_they_lie(db: Any, folder: Path, ending: str) -> None:
    (folder / "unet" / f"weights{ending}").write_bytes(b"\x80\x04.")
    with pytest.raises(Invalid, match=r"is refused: only \.safetensors files are safe to open"):
        await models.register(NEW, folder)
    with pytest.raises(Invalid, match="is refused"):
        await models.register(NEW, folder / "unet" / f"weights{ending}")
    assert await models.everything() == []


async def test_pickle_under_a_safe_name_is_refused(db: Any, folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\x80\x04\x95 a pickle, really")
    with pytest.raises(Invalid, match="is not a safetensors file, whatever its name says"):
        await models.register(NEW, folder)


async def test_a_part_without_weights_is_refused(db: Any, folder: Path) -> None:
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(Invalid, match=r"vae/ has no \.safetensors file"):
        await models.register(NEW, folder)


async def test_a_models_own_code_is_refused(db: Any, folder: Path) -> None:
    (folder / "unet" / "my_unet.py").write_text("print('hello')")
    with pytest.raises(Invalid, match=r"my_unet\.py is code"):
        await models.register(NEW, folder)


async def test_a_broken_index_is_no_model(db: Any, folder: Path) -> None:
    (folder / "model_index.json").write_text(json.dumps([]))
    assert weights.family(folder) == "unknown"
    (folder / "model_index.json").unlink()
    with pytest.raises(Invalid, match="is neither a diffusers folder"):
        await models.register(NEW, folder)


@pytest.mark.parametrize("name", ["", "a b", "x" * 81, "a/b", "a=b"])
async def test_a_name_is_plain(db: Any, name: str) -> None:
    with pytest.raises(Invalid, match="1 to 80 letters"):
        await models.register(name, models.STARTER_PATH)


async def test_a_removed_model_is_offered_no_longer(db: Any) -> None:
    await models.register_all({})
    await models.remove("starter")
    assert await models.names("text_to_image") == []
    with pytest.raises(NotFound, match="no model called “starter”"):
        await models.require("starter", "text_to_image")
    with pytest.raises(NotFound):
        await models.remove("starter")


async def test_a_model_does_only_its_kinds(db: Any) -> None:
    await models.register(NEW, models.STARTER_PATH, kinds=["image_to_image"])
    with pytest.raises(Invalid, match="cannot do this kind of step"):
        await models.require(NEW, "text_to_image")


async def test_the_seeds_keep_the_means_of_the_setting(db: Any, folder: Path, config: Config) -> None:
    """They and a worker register the same models at the same time."""
    given = replace(config, models={NEW: folder}, means={NEW: Means(fuse=True)}, seed_examples=False)
    await models.register_all(given.models, given.means)
    await database.unbind()
    await seeds.seed(given)
    await database.bind(config.database_url)
    assert (await models.require(NEW, "text_to_image")).means == Means(fuse=True)
