"""langgraph.json as a JSON schema, for editors, and which of its keys are known (contract/resources.md 12).

The rules of a start are those of the readers; the tests hold both against the same files.
`api/langgraph.schema.json` is made of this by `graphwire check --schema`.
"""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..rules.threads import PruneStrategy
from .checkpointer import COUNT_MAX, DAYS_MAX, MINUTES_MAX
from .store import DIMS_MAX, FIELDS_MAX
from .store import MINUTES_MAX as STORE_MINUTES_MAX
from .webhooks import ENV_PREFIX, URL_LENGTH_MAX

PythonVersion = Literal["3.11", "3.12", "3.13", "3.14"]
Distro = Literal["debian", "bookworm", "trixie"]
PackageTool = Literal["pip", "setuptools", "wheel"]
TARGET = r"^[^:]+:[A-Za-z_][A-Za-z0-9_]*$|^[A-Za-z]:.+:[A-Za-z_][A-Za-z0-9_]*$"
NAME: dict[str, Any] = {"pattern": TARGET, "examples": ["./agent.py:graph", "package.module:graph"]}


class _Object(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True, extra="ignore")


class GraphEntry(_Object):
    """A graph, and what it is for."""

    path: str = Field(json_schema_extra=NAME)
    """The file and the variable in it, or the module and the variable in it."""
    description: str | None = None
    """What the graph does: shown with its assistant."""


class StoreIndex(_Object):
    """How items are found by meaning."""

    embed: str = Field(json_schema_extra={"pattern": "^[^:]+:.+$"})
    """`./file.py:function`, or `provider:model` of LangChain."""
    dims: int = Field(ge=1, le=DIMS_MAX)
    """Numbers of a vector."""
    fields: list[str] | None = Field(default=None, min_length=1, max_length=FIELDS_MAX)
    """Paths of the texts that are embedded; `$` is the value as a whole."""


class StoreTtl(_Object):
    """How long items live."""

    default_ttl: float | None = Field(default=None, gt=0, le=STORE_MINUTES_MAX)
    """Minutes that an item lives which says nothing itself."""
    refresh_on_read: bool | None = None
    """Whether a read begins that time anew."""
    sweep_interval_minutes: float | None = Field(default=None, gt=0, le=STORE_MINUTES_MAX)
    """How often what has expired is deleted."""


class Store(_Object):
    """The long-term store."""

    index: StoreIndex | None = None
    ttl: StoreTtl | None = None


class CheckpointerTtl(_Object):
    """How long threads live."""

    strategy: PruneStrategy | None = None
    """What goes when the time is over."""
    default_ttl: float | None = Field(default=None, gt=0, le=MINUTES_MAX)
    """Minutes that a thread lives after its last change."""
    sweep_interval_minutes: float | None = Field(default=None, gt=0, le=MINUTES_MAX)
    """Time between two sweeps."""
    sweep_limit: int | None = Field(default=None, ge=1, le=COUNT_MAX)
    """Threads that one sweep looks at."""


class Retention(BaseModel):
    """How much of its past a thread keeps; Graphwire's own."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    checkpoints: int | None = Field(default=None, ge=1, le=COUNT_MAX)
    """How many of its newest checkpoints."""
    days: float | None = Field(default=None, gt=0, le=DAYS_MAX)
    """How old checkpoints may get."""


class Checkpointer(_Object):
    """How long threads live, and how much of their past they keep."""

    ttl: CheckpointerTtl | None = None
    retention: Retention | None = None
    backend: str | None = None
    """Of the reference; Graphwire keeps checkpoints with its runs."""
    path: str | None = None
    """Of the reference; Graphwire keeps checkpoints with its runs."""
    serde: dict[str, Any] | None = None
    """Of the reference; no effect."""


class Jwt(BaseModel):
    """Which tokens of an OpenID provider are taken."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    issuer: str
    """What `iss` must be."""
    audience: str | list[str]
    """What `aud` must hold; one of a list."""
    jwks_url: str | None = None
    """Where the provider's keys are; or `jwks_file`."""
    jwks_file: str | None = None
    algorithms: list[str] | None = None
    """RS256, unless others are named; never symmetric ones."""
    leeway_seconds: float | None = Field(default=None, ge=0, le=300)
    identity_claim: str | None = None
    """`sub`, unless another is named."""
    permissions_claim: str | None = None
    """`scope`, unless another is named."""
    refresh_seconds: float | None = Field(default=None, ge=10, le=86_400)


class Auth(BaseModel):
    """Who comes in, by a `langgraph_sdk.Auth` or by tokens, and who may do what."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    path: str | None = None
    """The file and the variable in it."""
    jwt: Jwt | None = None
    unmatched: Literal["owner", "allow"] | None = None
    """What holds where no handler says anything: everybody has what he made, or everything."""
    public_info: bool | None = None
    """Whether `/info` needs no user."""
    disable_studio_auth: bool | None = None
    """Of the reference; the header of Studio opens nothing here."""
    openapi: dict[str, Any] | None = None
    """`securitySchemes`, `security` and `paths` for the document about the API."""
    cache: dict[str, Any] | None = None
    """Of the reference; no effect."""


class Cors(_Object):
    """Which pages may call the server."""

    allow_origins: list[str] | None = None
    allow_origin_regex: str | None = None
    allow_methods: list[str] | None = None
    allow_headers: list[str] | None = None
    allow_credentials: bool | None = None
    expose_headers: list[str] | None = None
    max_age: int | None = Field(default=None, ge=0, le=86_400)


class Headers(BaseModel):
    """Headers by name or glob."""

    model_config = ConfigDict(extra="allow")  # `include` and `exclude` are the same

    includes: list[str] | None = None
    excludes: list[str] | None = None


class Http(_Object):
    """HTTP: pages of other origins, and routes of your own."""

    cors: Cors | None = None
    app: str | None = None
    """A Starlette or FastAPI application: the file and the variable in it."""
    mount_prefix: str | None = None
    """Path under which everything lies, such as `/api`."""
    middleware_order: Literal["middleware_first", "auth_first"] | None = None
    enable_custom_route_auth: bool | None = None
    configurable_headers: Headers | None = None
    """Headers of requests that graphs see in `configurable`."""
    logging_headers: Headers | None = None
    disable_assistants: bool | None = None
    disable_threads: bool | None = None
    disable_runs: bool | None = None
    disable_store: bool | None = None
    disable_mcp: bool | None = None
    disable_a2a: bool | None = None
    disable_ui: bool | None = None
    disable_meta: bool | None = None
    disable_webhooks: bool | None = None


class WebhookUrls(BaseModel):
    """Where webhooks may go."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    require_https: bool | None = None
    allowed_domains: list[str] | None = None
    allowed_ports: list[int] | None = None
    max_url_length: int | None = Field(default=None, ge=1, le=URL_LENGTH_MAX)
    disable_loopback: bool | None = None


class Webhooks(BaseModel):
    """What webhooks carry, and where they may go."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    env_prefix: str | None = Field(default=None, min_length=1, examples=[ENV_PREFIX])
    """How names of variables begin that headers may name."""
    headers: dict[str, str] | None = None
    """Headers; `${{ env.NAME }}` stands for a variable."""
    url: WebhookUrls | None = None


class ProjectFile(_Object):
    """langgraph.json: a project of graphs that Graphwire or `langgraph dev` serves."""

    graphs: dict[str, str | GraphEntry] = Field(min_length=1)
    """Graph id -> where the graph is, as `./file.py:variable`."""
    dependencies: list[str] | None = None
    """Folders in which Python finds modules, and packages that an image installs."""
    env: dict[str, str] | str | None = None
    """Variables, or the path of a dotenv file."""
    store: Store | None = None
    checkpointer: Checkpointer | None = None
    auth: Auth | None = None
    http: Http | None = None
    webhooks: Webhooks | None = None
    python_version: PythonVersion | None = None
    """Of the image."""
    dockerfile_lines: list[str] | None = None
    """Lines for the image, before anything is installed."""
    base_image: str | None = None
    """What the image is built on; it has to have Python."""
    image_distro: Distro | None = None
    """Of the image."""
    pip_config_file: str | None = None
    """pip's configuration while the image is built."""
    pip_installer: Literal["auto", "pip", "uv"] | None = None
    """The image is built with pip."""
    keep_pkg_tools: bool | list[PackageTool] | None = None
    """Which of them are left in the image."""
    api_version: str | None = None
    """Of the reference; no effect."""
    source: dict[str, Any] | None = None
    """Of the reference; no effect."""
    encryption: dict[str, Any] | None = None
    """Of the reference; not there: `graphwire serve` refuses it."""
    priority: dict[str, Any] | None = None
    """Of the reference; no effect."""
    ui: dict[str, Any] | None = None
    """Of the reference; no effect."""
    ui_config: dict[str, Any] | None = None
    """Of the reference; no effect."""
    node_version: str | None = None
    """Of the reference; no effect."""


def project_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12)."""
    made = ProjectFile.model_json_schema()
    made["properties"]["$schema"] = {"type": "string", "description": "Where an editor finds this schema."}
    graphs = made["properties"]["graphs"]["additionalProperties"]["anyOf"]
    graphs[0].update(NAME)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "langgraph.json", **made}


def unknown_keys(document: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Keys that nobody reads, each with those that are known in its place."""
    schema = project_schema()
    yield from _unknown(schema, schema["$defs"], document, ())


def _unknown(
    schema: dict[str, Any], defs: dict[str, Any], value: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    for each in _objects(schema, defs):
        known, others = each.get("properties", {}), each.get("additionalProperties")
        for name, item in value.items() if isinstance(value, dict) else ():
            if name in known:
                yield from _unknown(known[name], defs, item, (*path, name))
            elif isinstance(others, dict):
                yield from _unknown(others, defs, item, (*path, name))
            elif others is None:  # else it is open, or its reader refuses it
                yield (*path, name), sorted(known)


def _objects(schema: dict[str, Any], defs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects that a value may be."""
    if "$ref" in schema:
        yield from _objects(defs[schema["$ref"].rpartition("/")[2]], defs)
    elif "anyOf" in schema:
        for choice in schema["anyOf"]:
            yield from _objects(choice, defs)
    elif schema.get("type") == "object":
        yield schema
