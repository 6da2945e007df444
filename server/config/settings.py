"""The environment → frozen Settings; the only reader of os.environ.

Nothing here imports LangGraph or LangChain: `apply_environment` must come before their first import.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from ..errors import ConfigError
from ..models import Network, WebhookRules
from .cors import split
from .http import HttpSettings, sends_webhooks
from .project import Project
from .webhooks import SigningSecret, webhook_rules


def apply_environment(project: Project, more: Mapping[str, str] = MappingProxyType({})) -> None:
    """Put `env` over the process environment, `more` over both, and the project's directories on sys.path.

    Call it before anything imports LangGraph, which reads LANGGRAPH_STRICT_MSGPACK only once: checkpoints
    may then only bring to life the types that the graph's state declares. The project's directories go to
    the front so that a user's module wins over one of ours.
    """
    os.environ.update({**project.env, **more})
    os.environ.setdefault(STRICT, "true")
    # A dependency that is no directory here is a package to install: contract/resources.md 12.
    places = (os.path.normpath(project.root / entry) for entry in (".", *project.dependencies))
    found = [place for place in places if os.path.isdir(place)]
    # The src layout works without being installed; after what the user names, for it may hold anything.
    wanted = list(dict.fromkeys([*found, *filter(os.path.isdir, map(_source_of, found))]))
    sys.path[:] = wanted + [entry for entry in sys.path if entry not in wanted]


def _source_of(place: str) -> str:
    """Where the code of a package in the src layout lies."""
    packaged = any(os.path.isfile(os.path.join(place, name)) for name in ("pyproject.toml", "setup.py"))
    return os.path.join(place, "src") if packaged else place


def is_strict() -> bool:
    """Whether checkpoints may only bring to life the types that the graph's state declares."""
    return os.environ.get(STRICT, "").lower() in ("1", "true", "yes")


def load_webhooks(project: Project, settings: "Settings") -> WebhookRules:
    """`webhooks` of langgraph.json with the environment as it is now. Raises ConfigError."""
    rules = webhook_rules(project.path, project.raw.get("webhooks"), os.environ, settings.webhook_networks)
    return replace(rules, sent=sends_webhooks(project.raw.get("http")))


Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PREFIX = "GRAPHWIRE_"
STRICT = "LANGGRAPH_STRICT_MSGPACK"
MIB = 1024 * 1024


class Settings(HttpSettings):
    """How this process runs, from the environment (contract/resources.md 15).

    Where the reference has a name for a setting, that name works; GRAPHWIRE_<FIELD> works for every field.
    An empty variable counts as unset: compose files pass those.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        validate_by_alias=True,
        validate_by_name=True,
        use_attribute_docstrings=True,
        frozen=True,
        extra="forbid",
    )

    database_uri: str | None = Field(default=None, validation_alias="DATABASE_URI", repr=False)
    """PostgreSQL to keep everything in, together with `redis_uri`; without them SQLite in `data_dir`."""

    redis_uri: str | None = Field(default=None, validation_alias="REDIS_URI", repr=False)
    """Redis or Valkey that carries streams between processes; goes with `database_uri`."""

    namespace: str = "graphwire"
    """Schema in PostgreSQL and prefix of the keys in Redis: several projects can share both."""

    database_connections: Annotated[int, Field(ge=3)] = 10
    """Most connections to PostgreSQL that this process opens."""

    lease_seconds: Annotated[float, Field(ge=0.5, le=3600, allow_inf_nan=False)] = 15
    """Time after which a worker that is not heard of is taken for dead, and its runs are begun anew."""

    jobs_per_worker: Count = Field(default=512, validation_alias="N_JOBS_PER_WORKER")
    """Runs that one worker executes at the same time."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", validation_alias="LOG_LEVEL"
    )
    """Least important level that is logged, in any case."""

    log_json: bool = Field(default=False, validation_alias="LOG_JSON")
    """One JSON object a line instead of text for people."""

    access_log: bool = True
    """Whether there is a line in the log for every request; of probes at level DEBUG only."""

    otel_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Where traces are sent (OTLP over HTTP), with the extra `otel`; none without it."""

    metrics: bool = True
    """Whether the server counts what it does, for `GET /metrics`."""

    run_timeout_seconds: Seconds = Field(default=86_400, validation_alias="BG_JOB_TIMEOUT_SECS")
    """Longest time one run may take."""

    run_attempts_max: Count = Field(default=3, validation_alias="BG_JOB_MAX_RETRIES")
    """Times a run is started, the first included, when its worker dies."""

    shutdown_grace_seconds: SecondsOrNone = Field(
        default=25, validation_alias="BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS"
    )
    """Time that running runs get to end when the server stops; below the 30 s that orchestrators give."""

    replay_seconds: SecondsOrNone = Field(default=120, validation_alias="RESUMABLE_STREAM_TTL_SECONDS")
    """How long a stream can still be read after its run ended."""

    body_bytes_max: Count = 32 * MIB
    """Largest request body."""

    log_bytes_max: Count = 16 * MIB
    """Most bytes that the stream of one run may hold."""

    log_entries_max: Count = 100_000
    """Most events that the stream of one run may hold."""

    logs_bytes_max: Count = 256 * MIB
    """Most bytes that all streams in memory may hold together."""

    send_timeout_seconds: Seconds = 30
    """How long a client may leave one write unread before it is disconnected."""

    heartbeat_seconds: Seconds = 5
    """Distance of the heartbeats in a stream; the JavaScript SDK learns it (contract/clients.md 5.3)."""

    data_dir: Path | None = None
    """Directory of the SQLite files; `.graphwire` beside langgraph.json when unset."""

    sqlite_synchronous: Literal["FULL", "NORMAL"] = "FULL"
    """FULL survives a power cut; NORMAL is faster and may lose the last moments in one."""

    free_bytes_min: Annotated[int, Field(ge=0)] = 64 * MIB
    """Free space on the disk of `data_dir` below which the server says that it is not ready; 0: never."""

    pending_runs_max: Count = 10_000
    """Runs that may wait for a worker before new ones are refused."""

    pending_runs_per_identity_max: Count = 1_000
    """Runs of one caller that may wait before new ones are refused."""

    runs_per_identity_max: Annotated[int, Field(ge=0)] = 0
    """Runs of one caller that may wait or run before new ones are refused; 0: no limit."""

    request_rate_max: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    """Requests a second of one caller, before more are refused; 0: no limit."""

    request_burst_max: Count = 100
    """Requests of one caller that may come at once after a silence, where there is a rate."""

    requests_at_once_max: Annotated[int, Field(ge=0)] = 0
    """Requests of one caller that may be under way, open streams included; 0: no limit."""

    crons_per_identity_max: Count = 1_000
    """Crons that one caller may have."""

    cron_interval_seconds_min: Annotated[int, Field(ge=1, le=86_400)] = 1
    """Least time between two runs of a cron."""

    api_keys: str | None = Field(default=None, repr=False)
    """Who may come in with which key, as JSON: `{"alice": "a long secret"}` (docs/authentication.md)."""

    isolation: Literal["graph", "shared", "run"] = "graph"
    """Which runs share an event loop: those of one graph, all, or none."""

    keep_partial_answers: bool = False
    """Whether a run that is cancelled leaves in its thread what its model had said; a cancel may differ."""

    error_text: Literal["known", "all", "none"] = "known"
    """Which texts of a graph's exceptions clients see; `known`: of the classes that the reference shows.

    Unset, it is `none` where others than this machine reach the server.
    """

    webhook_secret: SigningSecret | None = Field(default=None, repr=False)
    """Signs webhooks: text, or base64 after `whsec_`; several, separated by spaces, while one is replaced."""

    webhook_networks: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split)] = ()
    """Networks that webhooks may go to although they are not public, such as 127.0.0.0/8,10.1.0.0/16."""

    webhook_tries_max: Count = 5
    """Times a webhook is sent before it is given up."""

    webhook_wait_seconds: Seconds = 1
    """Time between the first two tries of a webhook; each further wait is six times as long, up to 5 min."""

    webhook_concurrency: Count = 16
    """Webhooks that are sent at the same time; a quarter of them to one receiver."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be printed: values of fields that are not shown, and the passwords in them."""
        hidden = [name for name, field in type(self).model_fields.items() if not field.repr]
        values = [str(value) for name in hidden if (value := getattr(self, name))]
        return tuple(part for value in values for part in (value, *_secret_parts(value)))

    @property
    def distributed(self) -> bool:
        """Whether several processes may share the work: PostgreSQL and Redis instead of SQLite and memory."""
        return bool(self.database_uri and self.redis_uri)

    @field_validator("log_level", "sqlite_synchronous", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


def _secret_parts(value: str) -> list[str]:
    """What of a secret may stand alone: the password of a URL, one key of several."""
    try:
        found = orjson.loads(value)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return [str(key) for key in found.values()]
    with suppress(ValueError):
        if password := urlsplit(value).password:
            return [password]
    return value.split()


def load_settings(*, local: bool = False, **flags: Any) -> Settings:
    """Settings from the environment as it is now, and over it from flags that were given: not None.

    `local`: only this machine will reach the server, so its developer may see more (reliability L1).
    ConfigError names each variable with a bad value.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise ConfigError("In the environment: " + " ".join(_problems(error))) from error
    if bool(settings.database_uri) is not bool(settings.redis_uri):
        raise ConfigError(_APART)
    if local or "error_text" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"error_text": "none"})


def settings_problems() -> list[str]:
    """Everything that is wrong with the settings in the environment, a sentence each."""
    try:
        load_settings()
    except ConfigError as error:
        cause = error.__cause__
        return _problems(cause) if isinstance(cause, ValidationError) else [error.message]
    return []


def unkept_promises() -> list[str]:
    """Variables of the reference that promise what is not done here: `serve` refuses them, `dev` warns."""
    names = [name for name in ("LANGGRAPH_AES_KEY", "LANGGRAPH_AES_JSON_KEYS") if os.environ.get(name)]
    return [
        f"{name} has no effect here: nothing is encrypted. Encrypt the disk, and unset it." for name in names
    ]


_APART = "DATABASE_URI and REDIS_URI belong together: set both for PostgreSQL and Redis, none for SQLite."


def _problems(error: ValidationError) -> list[str]:
    return [f"{_variable(item['loc'][0])}{_shown(item)}: {item['msg']}." for item in error.errors()]


def _shown(problem: Any) -> str:
    """The value that is wrong, unless it is a secret."""
    field = Settings.model_fields.get(str(problem["loc"][0]))
    return "" if field is not None and not field.repr else f"={problem['input']!r}"


def _variable(key: int | str) -> str:
    """The environment variable behind a location in a ValidationError."""
    name = str(key)
    return PREFIX + name.upper() if name in Settings.model_fields else name
