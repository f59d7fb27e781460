"""Settings. `Config.from_env()` is the only reader of the process environment."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from domain import means
from domain.errors import ConfigError as ConfigError
from domain.errors import Invalid
from domain.means import Means

ROOT = Path(__file__).resolve().parents[1]
KEYS = "ENDPOINT_KEYS"
NAME = re.compile(r"[\w.-]{1,80}")
QUEUES = ("light", "image", "text", "audio", "mesh")
ENCODERS = ("minilm", "off")
LOG_LEVELS = ("debug", "info", "warning", "error")
DEVICES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: what it is for, and its value when unset (None: required)."""

    name: str
    help: str
    default: str | None = None


SETTINGS = (
    Setting("DATABASE_URL", "PostgreSQL 18 or newer with pgvector, pg_trgm and unaccent"),
    Setting("REDIS_URL", "Redis or Valkey, a database of its own"),
    Setting("S3_URL", "http(s)://KEY:SECRET@HOST:PORT/BUCKET?region=REGION, any S3 server"),
    Setting("SECRET_KEY", "32 characters or more; signs form tokens, links to artifacts and private feeds' addresses"),
    Setting("SITE_URL", "The address people type, without a path", "http://127.0.0.1:8000"),
    Setting("SITE_NAME", "The name in titles and feeds", "Offshoot"),
    Setting("HOST", "Address the web server listens on", "127.0.0.1"),
    Setting("PORT", "Port the web server listens on", "8000"),
    Setting("DATA_DIR", "Where the embedded PostgreSQL, Valkey and S3 server keep their data", "var"),
    Setting("MODELS", "More models to register at start: NAME=PATH or NAME=PATH;MEANS, separated by commas", ""),
    Setting(
        "ENDPOINTS",
        "Models elsewhere that write texts, in OpenAI's protocol: NAME=URL#MODEL, separated by commas. Their keys: "
        "ENDPOINT_KEYS, NAME=KEY, read by workers alone",
        "",
    ),
    Setting("DEVICE", "Where models run: auto, cpu, cuda, cuda:1, mps", "auto"),
    Setting("QUEUES", "Queues this machine's worker serves", "light,image,text,audio,mesh"),
    Setting("ENCODER", "What finds similar prompts: minilm, off, or the path of a sentence model's folder", "minilm"),
    Setting(
        "BATCH_LIMIT", "Pictures that alike steps of several runs may make in one call, 1 for none; 0 by device", "0"
    ),
    Setting("MODEL_MEMORY", "Megabytes of loaded models to keep; 0: half of RAM on a CPU, 80 % of a GPU's memory", "0"),
    Setting("ENGINE_MEMORY", "Megabytes that a step's process may hold; 0: 80 % of the machine's memory", "0"),
    Setting("ENGINE_SILENCE", "Seconds without a sign of life after which a step's process is killed", "600"),
    Setting("RUNS_PER_PERSON", "Runs of one person that may wait or run at once, 0 for any number", "500"),
    Setting("WORKERS_PER_PERSON", "Workers that one person's runs may occupy at once, 0 for any number", "0"),
    Setting("SEED_EXAMPLES", "1 fills an empty gallery by running the examples, 0 leaves it empty", "1"),
    Setting("ARTIFACT_ORIGIN", "A separate origin to serve artifacts from, such as https://files.example", ""),
    Setting("LOG_LEVEL", "debug, info, warning or error", "info"),
)


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting, checked once per process and passed in from the entry point."""

    database_url: str
    redis_url: str
    s3_url: str
    secret_key: str
    site_url: str
    site_name: str
    host: str
    port: int
    data_dir: Path
    models: dict[str, Path]
    means: dict[str, Means]
    endpoints: dict[str, str]
    """By name: the address of the API, # and the model's name there."""
    device: str
    queues: tuple[str, ...]
    encoder: str
    """`minilm`, `off` or a whole path."""
    batch_limit: int
    model_memory: int
    engine_memory: int
    engine_silence: int
    runs_per_person: int
    workers_per_person: int
    seed_examples: bool
    artifact_origin: str
    log_level: str

    @property
    def secure(self) -> bool:
        """Whether the site is reached over TLS: cookies are then Secure and `__Host-` prefixed."""
        return self.site_url.startswith("https://")

    @property
    def run_limit(self) -> int | None:
        """How many runs one person may have that have not ended, None for any number."""
        return self.runs_per_person or None

    @property
    def models_setting(self) -> str:
        """MODELS as it would be written, with whole paths."""
        entries = [[f"{name}={path}", means.spell(self.means[name])] for name, path in self.models.items()]
        return ",".join(";".join(filter(None, entry)) for entry in entries)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Config":
        """Read and check every setting.

        Raises ConfigError naming the first variable that is missing or malformed.
        """
        source = os.environ if env is None else env
        value = {setting.name: _read(setting, source) for setting in SETTINGS}
        _url("DATABASE_URL", value["DATABASE_URL"], ("postgresql", "postgres"))
        _check_redis(value["REDIS_URL"])
        _check_s3(value["S3_URL"])
        if len(value["SECRET_KEY"]) < 32:
            raise ConfigError("SECRET_KEY needs at least 32 characters. `openssl rand -hex 32` makes one.")
        given_models = _models(value["MODELS"])
        endpoints = _endpoints(value["ENDPOINTS"])
        if twice := ({*given_models, "starter"} & endpoints.keys()):
            raise ConfigError(f"ENDPOINTS: another model is called {min(twice)}. Choose another name.")
        return cls(
            database_url=value["DATABASE_URL"],
            redis_url=value["REDIS_URL"],
            s3_url=value["S3_URL"],
            secret_key=value["SECRET_KEY"],
            site_url=_origin("SITE_URL", value["SITE_URL"]),
            site_name=value["SITE_NAME"],
            host=value["HOST"],
            port=_port(value["PORT"]),
            data_dir=_data_dir(source),
            models={name: path for name, (path, _) in given_models.items()},
            means={name: chosen for name, (_, chosen) in given_models.items()},
            endpoints=endpoints,
            device=_device(value["DEVICE"]),
            queues=_queues(value["QUEUES"]),
            encoder=_encoder(value["ENCODER"]),
            batch_limit=_count("BATCH_LIMIT", value["BATCH_LIMIT"]),
            model_memory=_megabytes("MODEL_MEMORY", value["MODEL_MEMORY"]),
            engine_memory=_megabytes("ENGINE_MEMORY", value["ENGINE_MEMORY"]),
            engine_silence=_seconds("ENGINE_SILENCE", value["ENGINE_SILENCE"]),
            runs_per_person=_count("RUNS_PER_PERSON", value["RUNS_PER_PERSON"]),
            workers_per_person=_count("WORKERS_PER_PERSON", value["WORKERS_PER_PERSON"]),
            seed_examples=_flag("SEED_EXAMPLES", value["SEED_EXAMPLES"]),
            artifact_origin=value["ARTIFACT_ORIGIN"] and _origin("ARTIFACT_ORIGIN", value["ARTIFACT_ORIGIN"]),
            log_level=_choice("LOG_LEVEL", value["LOG_LEVEL"].lower(), LOG_LEVELS),
        )


def _read(setting: Setting, env: Mapping[str, str]) -> str:
    value = env.get(setting.name, "").strip()
    if value:
        return value
    if setting.default is None:
        raise ConfigError(f"{setting.name} is not set. It is needed: {setting.help}.")
    return setting.default


def _url(name: str, value: str, schemes: Sequence[str]) -> SplitResult:
    """The parts of an address. What is wrong is said without showing it: it may be a piece of a password."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ConfigError(
            f"{name} has a host or port that cannot be read. In a password, / # ? and @ are written %2F %23 %3F %40."
        ) from None
    if parts.scheme not in schemes:
        raise ConfigError(f"{name} must start with {' or '.join(s + '://' for s in schemes)}.")
    return parts


def _check_redis(value: str) -> None:
    parts = _url("REDIS_URL", value, ("redis", "rediss", "unix"))
    if parts.scheme == "unix":
        if not parts.path:
            raise ConfigError("REDIS_URL must name a socket: unix:///path/to/redis.sock.")
    elif not re.fullmatch(r"/?\d*", parts.path):
        raise ConfigError("REDIS_URL must end in the number of a database: redis://:PASSWORD@HOST:PORT/0.")


def _check_s3(value: str) -> None:
    parts = _url("S3_URL", value, ("http", "https"))
    bucket = parts.path.strip("/")
    if not (parts.hostname and parts.username and parts.password and bucket) or "/" in bucket:
        raise ConfigError(
            "S3_URL must name a key, its secret, a host and a bucket: https://KEY:SECRET@HOST:PORT/BUCKET."
        )
    if set(parse_qs(parts.query, keep_blank_values=True)) - {"region"}:
        raise ConfigError("S3_URL may say ?region=REGION after the bucket, and nothing else.")


def _origin(name: str, value: str) -> str:
    """Scheme, host and port as browsers write them: in small letters, the usual port left out."""
    parts = _url(name, value, ("http", "https"))
    if not parts.hostname or parts.username or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(
            f"{name} must be a scheme and a host with nothing after them, such as https://offshoot.example."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _data_dir(env: Mapping[str, str]) -> Path:
    """A folder that was named is relative to where we are; the default lies in the checkout."""
    given = env.get("DATA_DIR", "").strip()
    return Path(given).expanduser().resolve() if given else ROOT / "var"


def _choice(name: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise ConfigError(f"{name} must be {', '.join(choices[:-1])} or {choices[-1]}, not {value!r}.")
    return value


def _device(value: str) -> str:
    if not DEVICES.fullmatch(value):
        raise ConfigError(f"DEVICE must be auto, cpu, cuda, cuda:1 (or another number) or mps, not {value!r}.")
    return value


def _queues(value: str) -> tuple[str, ...]:
    queues = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if not queues or set(queues) - set(QUEUES):
        raise ConfigError(f"QUEUES must name some of {', '.join(QUEUES)}, with commas between them, not {value!r}.")
    return queues


def _encoder(value: str) -> str:
    if value in ENCODERS:
        return value
    if "/" not in value:
        raise ConfigError(f"ENCODER must be {', '.join(ENCODERS)} or the path of a folder, not {value!r}.")
    return str(Path(value).expanduser().resolve())


def _port(value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise ConfigError(f"PORT must be a number from 1 to 65535, not {value!r}.")
    return int(value)


def _count(name: str, value: str) -> int:
    if not value.isdecimal() or int(value) > 1_000_000:
        raise ConfigError(f"{name} must be a whole number from 0 to 1,000,000, not {value!r}.")
    return int(value)


def _megabytes(name: str, value: str) -> int:
    if not value.isdecimal() or int(value) > 100_000_000:
        raise ConfigError(f"{name} must be a whole number of megabytes, not {value!r}.")
    return int(value)


def _seconds(name: str, value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) <= 86_400:
        raise ConfigError(f"{name} must be a number of seconds from 1 to 86,400, not {value!r}.")
    return int(value)


def _flag(name: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise ConfigError(f"{name} must be 0 or 1, not {value!r}.")
    return value == "1"


def _endpoints(value: str) -> dict[str, str]:
    endpoints: dict[str, str] = {}
    for name, address in _pairs("ENDPOINTS", "NAME=URL#MODEL", value):
        parts = _url("ENDPOINTS", address, ("http", "https"))
        if not (NAME.fullmatch(name) and parts.hostname and parts.fragment) or parts.username or parts.query:
            raise ConfigError("ENDPOINTS must be NAME=URL#MODEL pairs, such as text=https://api.example/v1#small-1.")
        endpoints[name] = address
    return endpoints


def endpoint_key(name: str, env: Mapping[str, str] | None = None) -> str:
    """The key of an endpoint, from ENDPOINT_KEYS; "" for none. Only workers ask, and none of it is kept."""
    given = (os.environ if env is None else env).get(KEYS, "")
    return dict(_pairs(KEYS, "NAME=KEY", given)).get(name, "")


def _pairs(setting: str, form: str, value: str) -> list[tuple[str, str]]:
    """Pairs that commas separate. What is wrong is said without showing it: it may be a key."""
    pairs = []
    for entry in filter(None, (part.strip() for part in value.split(","))):
        name, equals, rest = (part.strip() for part in entry.partition("="))
        if not (name and equals and rest):
            raise ConfigError(f"{setting} must be {form} pairs separated by commas.")
        pairs.append((name, rest))
    return pairs


def _models(value: str) -> dict[str, tuple[Path, Means]]:
    models: dict[str, tuple[Path, Means]] = {}
    for entry in filter(None, (part.strip() for part in value.split(","))):
        name, equals, rest = entry.partition("=")
        path, _, chosen = rest.partition(";")
        if not equals or not name.strip() or not path.strip():
            raise ConfigError(f"MODELS must be NAME=PATH pairs separated by commas, not {entry!r}.")
        try:
            models[name.strip()] = (Path(path.strip()).expanduser().resolve(), means.parse(chosen))
        except Invalid as error:
            raise ConfigError(f"MODELS: {name.strip()}: {error.fields['means']}.") from error
    return models
