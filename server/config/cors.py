"""`http.cors` of langgraph.json and CORS_… of the environment, checked (contract/resources.md 11).

A part of `config`; what it makes of both is for `wiring` alone. The file wins, key by key.
"""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ..errors import ConfigError
from ..rules.cors import EXPOSED, LOCALHOST, METHODS, CorsRules

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/*,\s]+")


def split(value: Any) -> Any:
    """Words that an environment variable separates by commas."""
    if not isinstance(value, str):
        return value
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f'"{origin}" is no origin: write scheme, host and port alone, or take a regex')
    return origins


def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f'"{name}" is no name of a method or header')
    return names


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split), AfterValidator(_origins)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split), AfterValidator(_names)]
Pattern = Annotated[str, AfterValidator(_pattern)]
MaxAge = Annotated[int, Field(ge=0, le=86_400)]  # no browser keeps an answer for longer


class CorsSettings(BaseSettings):
    """The part of the settings that says which pages may call the server."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    cors_allow_origins: Origins = Field(default=(), validation_alias="CORS_ALLOW_ORIGINS")
    """Origins of the pages that may call the server, separated by commas; unset: pages on localhost."""

    cors_allow_origin_regex: Pattern | None = None
    """Origins besides, as a regular expression for the whole of one."""

    cors_allow_methods: Names = METHODS
    """Methods that pages may use, separated by commas."""

    cors_allow_headers: Names = ("*",)
    """Headers that pages may send, separated by commas."""

    cors_allow_credentials: bool | None = None
    """Whether browsers send cookies; unset: if the environment lists the origins, as on the reference."""

    cors_expose_headers: Names = ()
    """Headers that pages may read besides those that the clients need, separated by commas."""

    cors_max_age: MaxAge = 600
    """Seconds for which a browser need not ask again."""

    cors_allow_private_network: bool = True
    """Whether pages of the internet may call a server in a private network, as Studio does."""


class _File(BaseModel):
    """`http.cors`: the keys that LangGraph's own server knows."""

    allow_origins: Origins | None = None
    allow_origin_regex: Pattern | None = None
    allow_methods: Names | None = None
    allow_headers: Names | None = None
    allow_credentials: bool | None = None
    expose_headers: Names | None = None
    max_age: MaxAge | None = None


def cors_rules(file: Path, http: Any, settings: CorsSettings) -> CorsRules:
    """The rules of `http` of a langgraph.json over those of the environment. Raises ConfigError.

    Keys that are not said keep our defaults: those of the reference would hide the headers that its own
    clients read (contract/resources.md D65), and let every origin in beside a regular expression (D66).
    Where nothing says which origins may call, it is pages on localhost (reliability B1).
    """
    said = _said(file, http)
    keys = {key: getattr(settings, f"cors_{key}") for key in _File.model_fields} | said
    origins, regex = keys["allow_origins"], keys["allow_origin_regex"]
    if not ("allow_origins" in said or "cors_allow_origins" in settings.model_fields_set or regex):
        regex = LOCALHOST
    credentials = keys["allow_credentials"]
    exposed = [*EXPOSED, *(name.lower() for name in keys["expose_headers"])]
    return CorsRules(
        origins=origins,
        origin_regex=regex,
        methods=keys["allow_methods"],
        headers=keys["allow_headers"],
        credentials=_listed(said, origins) if credentials is None else credentials,
        exposed=tuple(dict.fromkeys(exposed)),
        max_age_seconds=keys["max_age"],
        private_network=settings.cors_allow_private_network,
    )


def _listed(said: dict[str, Any], origins: tuple[str, ...]) -> bool:
    """Whether the environment alone lists origins: cookies come along then, as on the reference."""
    return not said and bool(origins) and "*" not in origins


def _said(file: Path, http: Any) -> dict[str, Any]:
    """The keys that the file has, checked."""
    cors = _object(file, "http.cors", _object(file, "http", http).get("cors"))
    try:
        return _File.model_validate(cors).model_dump(exclude_none=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f'{file}: "http.cors.{first["loc"][0]}": {first["msg"]}.') from error


def _object(file: Path, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict | None):
        raise ConfigError(f'{file}: "{key}" must be an object.')
    return value or {}
