"""The small answers: liveness, version, errors."""

from typing import Any

from pydantic import BaseModel


class Ok(BaseModel):
    """The server answers."""

    ok: bool
    services: dict[str, Any]


class Info(BaseModel):
    """What server this is (contract/resources.md 2)."""

    version: str
    langgraph_py_version: str
    flags: dict[str, bool]
    host: dict[str, Any]


class Problem(BaseModel):
    """Every error of every operation."""

    detail: str
