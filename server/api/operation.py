"""One operation of the REST door: how it is routed, and what the OpenAPI document says of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from ..models import Json
from ..rules.http import GROUPS

Shape = type[BaseModel] | list[type[BaseModel]]  # a list of one: a JSON list of these
UNLIMITED = ("/", "/ok")  # may be asked for by anybody at any time
Handler = Callable[[Request], Awaitable[Response]]


def group_of(path: str) -> str:
    """The part of the API that a path belongs to; crons are runs (contract/resources.md 11)."""
    parts = path.strip("/").split("/")
    if "runs" in parts:
        return "runs"
    return parts[0] if parts[0] in GROUPS else "meta"


@dataclass(frozen=True, slots=True)
class Media:
    """An answer that is not JSON: its type, what it holds, and, of a stream, of what and how it looks.

    `as_json`: what it is for those who ask for JSON.
    """

    media_type: str
    description: str
    events: type[BaseModel] | None = None
    example: str | None = None
    as_json: type[BaseModel] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. What follows from its kind is added by `failures`."""

    method: str
    path: str
    handler: Handler
    answer: Any  # a type that pydantic describes, a list of one as in Shape, a Media, or None: no body
    body: Shape | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    query: dict[str, Json] = field(default_factory=dict)
    paged: bool = False  # answers with the headers of api/paging.py
    headers: tuple[str, ...] = ()  # that every success has; described in api/described.py
    others: Mapping[int, Any] = field(default_factory=dict)  # successes of another status -> their answers

    @property
    def failures(self) -> list[int]:
        """The statuses of errors: the named ones and those that every operation of its kind can give."""
        found = set(self.errors)
        if self.path not in UNLIMITED:
            found.add(429)  # a caller who asks too often
        if self.body is not None:
            found |= {413, 415, 422}  # larger than allowed; not JSON; not of this shape
        if "{" in self.path:
            found.add(422)  # an id that is no UUID
        if self.method != "GET":
            found.add(507)  # a disk that takes no more
        if self.method != "GET" or self.path.count("/") > 1:
            found.add(503)  # a database that is away; what tells of the server itself needs none
        return sorted(found)

    @property
    def group(self) -> str:
        """What `http.disable_<group>` turns it off with."""
        return group_of(self.path)

    @property
    def answers(self) -> dict[int, Any]:
        """What a success answers, by status."""
        return {self.status: self.answer, **self.others}

    @property
    def selects(self) -> bool:
        """Whether the caller may name the fields that he wants, so that all others are absent."""
        if "select" in self.query:
            return True
        return isinstance(self.body, type) and "select" in self.body.model_fields
