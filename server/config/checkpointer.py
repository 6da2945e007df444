"""`checkpointer` of langgraph.json, checked (contract/resources.md 12). A part of `config`, seen by `wiring`.

`ttl` is the reference's: how long threads live. `retention` is ours: how much of its past a thread keeps.
"""

import math
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..rules.threads import Keep, PruneStrategy, RetentionRules, Ttl

MINUTES_MAX = 100 * 365 * 24 * 60.0
DAYS_MAX = 100 * 365.0
COUNT_MAX = 1_000_000
_RETENTION_KEYS = ("checkpoints", "days")


def retention_rules(file: Path, value: Any) -> RetentionRules:
    """The rules of a langgraph.json. Other keys than those below are ignored. Raises ConfigError."""
    checkpointer = _object(file, "checkpointer", value)
    ttl = _object(file, "checkpointer.ttl", checkpointer.get("ttl"))
    sweep = _number(file, "checkpointer.ttl.sweep_interval_minutes", ttl, MINUTES_MAX)
    limit = _count(file, "checkpointer.ttl.sweep_limit", ttl)
    usual = RetentionRules()
    return RetentionRules(
        default_ttl=_ttl(file, ttl),
        keep=_keep(file, checkpointer.get("retention")),
        sweep_seconds=usual.sweep_seconds if sweep is None else sweep * 60,
        sweep_limit=usual.sweep_limit if limit is None else limit,
    )


def _ttl(file: Path, ttl: dict[str, Any]) -> Ttl | None:
    strategy = ttl.get("strategy", PruneStrategy.delete)
    if strategy not in tuple(PruneStrategy):
        raise _wrong(file, "checkpointer.ttl.strategy", f"must be one of {', '.join(PruneStrategy)}.")
    minutes = _number(file, "checkpointer.ttl.default_ttl", ttl, MINUTES_MAX)
    return None if minutes is None else Ttl(PruneStrategy(strategy), minutes)


def _keep(file: Path, value: Any) -> Keep | None:
    if value is None:
        return None
    retention = _object(file, "checkpointer.retention", value)
    # A limit with a typing error in its name would limit nothing.
    if unknown := sorted(set(retention) - set(_RETENTION_KEYS)):
        choice = " or ".join(_RETENTION_KEYS)
        raise _wrong(file, f"checkpointer.retention.{unknown[0]}", f"is unknown: write {choice}.")
    count = _count(file, "checkpointer.retention.checkpoints", retention)
    days = _number(file, "checkpointer.retention.days", retention, DAYS_MAX)
    return None if count is None and days is None else Keep(count, days)


def _number(file: Path, key: str, values: dict[str, Any], most: float) -> float | None:
    value = values.get(key.rpartition(".")[2])
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not 0 < value <= most:
        raise _wrong(file, key, "must be a number above 0, and no more than 100 years.")
    return float(value)


def _count(file: Path, key: str, values: dict[str, Any]) -> int | None:
    value = values.get(key.rpartition(".")[2])
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= COUNT_MAX:
        raise _wrong(file, key, f"must be a whole number from 1 to {COUNT_MAX}.")
    return value


def _object(file: Path, key: str, value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise _wrong(file, key, "must be an object.")
    return value or {}


def _wrong(file: Path, key: str, problem: str) -> ConfigError:
    return ConfigError(f'{file}: "{key}" {problem}')
