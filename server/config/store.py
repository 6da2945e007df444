"""`store` of langgraph.json, checked (contract/resources.md 12). A part of `config`, for `wiring` alone."""

import math
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..rules.items import WHOLE, IndexRules, StoreRules

DIMS_MAX = 65_536
FIELDS_MAX = 1_000
MINUTES_MAX = 100 * 366 * 24 * 60.0


def store_rules(file: Path, value: Any) -> StoreRules:
    """The rules of a langgraph.json. Unknown keys are ignored, as there. Raises ConfigError."""
    store = _object(file, "store", value)
    ttl = _object(file, "store.ttl", store.get("ttl"))
    default_ttl = _minutes(file, "default_ttl", ttl)
    sweep = _minutes(file, "sweep_interval_minutes", ttl)
    return StoreRules(
        index=_index(file, store.get("index")),
        default_ttl_seconds=None if default_ttl is None else default_ttl * 60,
        refresh_on_read=_flag(file, "refresh_on_read", ttl),
        sweep_seconds=StoreRules().sweep_seconds if sweep is None else sweep * 60,
    )


def _index(file: Path, value: Any) -> IndexRules | None:
    if value is None:
        return None
    index = _object(file, "store.index", value)
    embed, dims, fields = index.get("embed"), index.get("dims"), index.get("fields", [*WHOLE])
    if not isinstance(embed, str) or not all(embed.partition(":")[::2]):
        examples = '"./embed.py:function" or "openai:text-embedding-3-small"'
        raise _wrong(file, "store.index.embed", f"must be a string such as {examples}.")
    if type(dims) is not int or not 1 <= dims <= DIMS_MAX:
        raise _wrong(file, "store.index.dims", f"must be a number from 1 to {DIMS_MAX}, such as 1536.")
    if not _are_paths(fields):
        raise _wrong(file, "store.index.fields", 'must be a list of paths, such as ["$"] or ["text"].')
    return IndexRules(embed, dims, tuple(fields))


def _are_paths(fields: Any) -> bool:
    if not isinstance(fields, list) or not 1 <= len(fields) <= FIELDS_MAX:
        return False
    return all(isinstance(field, str) and field for field in fields)


def _minutes(file: Path, key: str, ttl: dict[str, Any]) -> float | None:
    value = ttl.get(key)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not 0 < value <= MINUTES_MAX:
        raise _wrong(file, f"store.ttl.{key}", "must be a number of minutes above 0, at most 100 years.")
    return float(value)


def _flag(file: Path, key: str, ttl: dict[str, Any]) -> bool:
    value = ttl.get(key, True)
    if not isinstance(value, bool):
        raise _wrong(file, f"store.ttl.{key}", "must be true or false.")
    return value


def _object(file: Path, key: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(file, key, "must be an object.")
    return {name: item for name, item in value.items() if item is not None}


def _wrong(file: Path, key: str, problem: str) -> ConfigError:
    return ConfigError(f'{file}: "{key}" {problem}')
