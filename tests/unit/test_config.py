"""Settings are read once, checked, and complained about by name."""

from pathlib import Path
from typing import get_args

import pytest

from deploy.surroundings import Surroundings
from domain.config import QUEUES, SETTINGS, Config, ConfigError
from domain.steps import Queue

NEEDED = {
    "DATABASE_URL": "postgresql://offshoot@127.0.0.1/offshoot",
    "REDIS_URL": "redis://127.0.0.1/0",
    "S3_URL": "http://key:secret@127.0.0.1:9000/offshoot",
    "SECRET_KEY": "k" * 32,
}


def test_defaults_fill_in_what_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config.from_env(NEEDED)
    assert (config.host, config.port, config.site_url) == ("127.0.0.1", 8000, "http://127.0.0.1:8000")
    assert config.data_dir == Path(__file__).parents[2] / "var", "the same folder wherever the command is given"
    assert config.queues == ("light", "image", "text", "audio", "mesh")
    assert config.seed_examples
    assert not config.secure
    assert config.models == {}


def test_an_empty_setting_counts_as_unset() -> None:
    assert Config.from_env(NEEDED | {"PORT": " "}).port == 8000


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_needed_setting_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is not set"):
        Config.from_env({key: value for key, value in NEEDED.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://127.0.0.1/offshoot"),
        ("DATABASE_URL", "postgresql+asyncpg://127.0.0.1/offshoot"),
        ("DATABASE_URL", "postgresql://h:abc/offshoot"),
        ("DATABASE_URL", "postgresql://[::1/offshoot"),
        ("REDIS_URL", "127.0.0.1:6379"),
        ("REDIS_URL", "redis+x://127.0.0.1"),
        ("REDIS_URL", "redis://h:abc/0"),
        ("REDIS_URL", "redis://h:99999/0"),
        ("REDIS_URL", "redis://[::1/0"),
        ("REDIS_URL", "redis://h/zero"),
        ("REDIS_URL", "unix://"),
        ("S3_URL", "s3://bucket"),
        ("S3_URL", "http://[::1"),
        ("S3_URL", "http://key:secret@h:abc/bucket"),
        ("S3_URL", "http://h/bucket"),
        ("S3_URL", "http://key@h/bucket"),
        ("S3_URL", "http://key:secret@h"),
        ("S3_URL", "http://key:secret@h/a/b"),
        ("S3_URL", "http://key:secret@/bucket"),
        ("S3_URL", "http://key:secret@h/bucket?zone=a"),
        ("SITE_URL", "offshoot.example"),
        ("SITE_URL", "https://offshoot.example/site"),
        ("SITE_URL", "https://offshoot.example?x=1"),
        ("SITE_URL", "https://"),
        ("SITE_URL", "http://[::1"),
        ("ARTIFACT_ORIGIN", "files.example"),
        ("ARTIFACT_ORIGIN", "https://files.example/here"),
        ("DEVICE", "gpu"),
        ("DEVICE", "cuda:"),
        ("QUEUES", "image,heavy"),
        ("QUEUES", ","),
        ("ENCODER", "minilmm"),
        ("ENCODER", "on"),
        ("LOG_LEVEL", "chatty"),
        ("SECRET_KEY", "short"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "eighty"),
        ("SEED_EXAMPLES", "yes"),
        ("MODELS", "just-a-name"),
        ("MODELS", "=path"),
        ("MODEL_MEMORY", "-1"),
        ("ENGINE_MEMORY", "8G"),
        ("ENGINE_SILENCE", "0"),
    ],
)
def test_a_malformed_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} "):
        Config.from_env(NEEDED | {name: value})


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "S3_URL"])
def test_a_password_that_breaks_an_address_is_not_shown(name: str) -> None:
    scheme = NEEDED[name].partition(":")[0]
    with pytest.raises(ConfigError) as said:
        Config.from_env(NEEDED | {name: f"{scheme}://user:hid/den@127.0.0.1/0"})
    assert "hid" not in str(said.value)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://offshoot@/offshoot?host=/run/postgresql"),
        ("DATABASE_URL", "postgres://[::1]:5433/offshoot"),
        ("REDIS_URL", "rediss://:secret@cache.example"),
        ("REDIS_URL", "unix:///run/valkey.sock"),
        ("S3_URL", "https://key:se%2Fcret@s3.example/bucket?region=eu-north-1"),
        ("DEVICE", "cuda:3"),
        ("QUEUES", "light"),
        ("ENCODER", "off"),
        ("ENCODER", "~/models/sentences"),
        ("LOG_LEVEL", "DEBUG"),
    ],
)
def test_what_is_well_formed_passes(name: str, value: str) -> None:
    assert Config.from_env(NEEDED | {name: value})


def test_an_origin_is_written_as_browsers_write_it() -> None:
    config = Config.from_env(
        NEEDED | {"SITE_URL": "HTTPS://Offshoot.Example:443/", "ARTIFACT_ORIGIN": "http://[::1]:90"}
    )
    assert (config.site_url, config.artifact_origin) == ("https://offshoot.example", "http://[::1]:90")


def test_the_queues_are_those_of_the_kinds() -> None:
    assert get_args(Queue) == QUEUES


def test_models_are_pairs_with_absolute_paths() -> None:
    config = Config.from_env(NEEDED | {"MODELS": "one=/models/one, two=two,"})
    assert config.models == {"one": Path("/models/one"), "two": Path("two").resolve()}


def test_tls_makes_the_site_secure_and_a_last_slash_goes() -> None:
    config = Config.from_env(NEEDED | {"SITE_URL": "https://offshoot.example/"})
    assert config.secure
    assert config.site_url == "https://offshoot.example"


def test_every_setting_has_a_name_of_its_own_and_help() -> None:
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
    assert all(setting.help for setting in SETTINGS)


def test_nothing_needs_to_be_set_to_run_on_one_machine() -> None:
    given = Surroundings.read({})
    assert given.external.database == given.external.redis == given.external.s3 == ""
    assert given.site_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("env", "url", "door"),
    [
        ({"PORT": "9000"}, "http://127.0.0.1:9000", ("127.0.0.1", 9000)),
        ({"HOST": "0.0.0.0"}, "http://127.0.0.1:8000", ("127.0.0.1", 8000)),
        ({"HOST": "::"}, "http://[::1]:8000", ("::1", 8000)),
        ({"SITE_URL": "https://offshoot.example"}, "https://offshoot.example", ("127.0.0.1", 8000)),
    ],
)
def test_the_address_follows_from_host_and_port(env: dict[str, str], url: str, door: tuple[str, int]) -> None:
    given = Surroundings.read(env)
    assert (given.site_url, given.door) == (url, door)


def test_children_get_plain_urls_and_absolute_paths() -> None:
    from deploy.embedded import Urls

    given = Surroundings.read(
        {"MODELS": "one=models/one", "ENCODER": "models/sentences", "DATA_DIR": "elsewhere", "PATH": "/bin"}
    )
    env = given.of_children(Urls("postgresql://a/b", "redis://c", "http://k:s@d/e"), "s" * 64)
    assert Config.from_env(env).models == {"one": Path("models/one").resolve()}
    assert Config.from_env(env).encoder == str(Path("models/sentences").resolve())
    assert env["DATA_DIR"] == str(Path("elsewhere").resolve())
    assert env["SECRET_KEY"] == "s" * 64
    assert env["PATH"] == "/bin"


def test_keys_of_endpoints_are_given_to_workers_alone() -> None:
    from deploy.embedded import Urls

    given, urls = Surroundings.read({"ENDPOINT_KEYS": "there=secret"}), Urls("postgresql://a/b", "redis://c", "")
    assert "secret" not in str(given.of_children(urls, "s" * 64))
    assert given.of_worker(urls, "s" * 64)["ENDPOINT_KEYS"] == "there=secret"
