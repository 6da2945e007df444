"""Body, path and query -> validated values, with limits (contract/runs.md 18, reliability A7, A8)."""

import re
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import HTTPConnection, Request

from ..errors import Invalid, NotJson, TooLarge
from ..streaming.encode import DEPTH_MAX, decode
from .context import backend, http

M = TypeVar("M", bound=BaseModel)

NO_JSON = "Invalid JSON in request body"
ENCODER_DEPTH_MAX = 254  # orjson writes no deeper than this
VALUES_MAX = 250_000  # texts, lists and objects in a body, and how many numbers and commas between them
NUMBERS_MAX = 16 * VALUES_MAX
LAST_EVENT_ID = "last_event_id"  # of the query
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_FLAGS = {"1": True, "true": True, "True": True, "0": False, "false": False, "False": False, "": False}


async def body(request: Request, model: type[M]) -> M:
    """The request's JSON as a model. Raises TooLarge or Invalid, which names the field."""
    return validate(model, parse(await _read(request)))


async def bodies(request: Request, model: type[M], most: int) -> list[M]:
    """The request's JSON list as models, at least one. Raises TooLarge or Invalid, which names the item."""
    value = parse(await _read(request))
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise Invalid(f"The request body must be a JSON list of 1 to {most} objects")
    return [validate(model, item, f"{index}.") for index, item in enumerate(value)]


async def value(request: Request) -> Any:
    """The request's JSON. Raises TooLarge or Invalid."""
    return parse(await _read(request))


async def _read(request: Request) -> bytes:
    """The body, of JSON and not too large: both are refused at once where the head tells.

    Pages of other sites can send every body but one that says it is JSON (reliability B2).
    """
    limit = backend(request).body_bytes_max
    said = _media_type(request)
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) > limit:
        raise TooLarge(f"The request body is larger than {limit} bytes")
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"The request body is larger than {limit} bytes")
        parts.append(part)
    if parts and not said and http(request).json_only:
        raise NotJson
    return b"".join(parts)


def _media_type(request: Request) -> str:
    """What the body is said to be; nothing, if nothing is said. Raises NotJson."""
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = said == "application/json" or (said.startswith("application/") and said.endswith("+json"))
    if said and not is_json and http(request).json_only:
        raise NotJson
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise NotJson("The body must not be compressed: Content-Encoding is not supported")
    return said


def parse(data: bytes) -> Any:
    """JSON text -> value. Raises Invalid: it is none, nests beyond DEPTH_MAX, or holds beyond VALUES_MAX."""
    # Bombs show themselves early: most are known by their beginning.
    if len(data) > 2 * VALUES_MAX and (_is_crowded(data[: 16 * VALUES_MAX]) or _is_crowded(data)):
        raise Invalid(f"The request body holds more than {VALUES_MAX} texts, lists and objects")
    try:
        value = decode(data)
    except ValueError:
        raise Invalid(NO_JSON) from None
    if data.count(b"[") + data.count(b"{") > DEPTH_MAX and _is_deep(value):
        raise Invalid(f"Invalid JSON in request body: nested deeper than {DEPTH_MAX} levels")
    return value


def _is_crowded(data: bytes) -> bool:
    """Whether JSON holds so much that it takes long: a list is three bytes here and a hundred in memory."""
    if data.count(b",") > NUMBERS_MAX:
        return True
    if b"\\" not in data and data.count(b'"') // 2 > VALUES_MAX:
        return True
    if _how_many(b'[{"', data) <= VALUES_MAX:
        return False
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # every quote that is left begins or ends a text
    texts = plain.count(b'"') // 2
    if texts > VALUES_MAX:
        return True
    outside = b"".join(plain.split(b'"')[::2])
    return texts + _how_many(b"[{", outside) > VALUES_MAX


def _how_many(marks: bytes, data: bytes) -> int:
    """How often these bytes come; unlike `count` it takes no longer where they come often."""
    return len(data) - len(data.translate(None, marks))


def _is_deep(value: Any) -> bool:
    """Whether `value` nests deeper than DEPTH_MAX: orjson finds out, in C, brought near its own limit."""
    for _ in range(ENCODER_DEPTH_MAX - DEPTH_MAX):
        value = [value]
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False


def validate(model: type[M], value: Any, at: str = "") -> M:
    """The value as a model. Raises Invalid with one line a problem, each beginning with the field."""
    if not isinstance(value, dict):
        raise Invalid(f"{at}: must be a JSON object" if at else "The request body must be a JSON object")
    try:
        return model.model_validate(value)
    except ValidationError as failure:
        raise Invalid("\n".join(at + _problem(error) for error in failure.errors()[:20])) from None


def _problem(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "body"
    if error["type"] == "missing":
        return f"{where}: '{error['loc'][-1]}' is a required property"
    return f"{where}: {error['msg']}"


def path_id(request: HTTPConnection, name: str) -> str:
    """A UUID of the path, lower case. Raises Invalid (contract/runs.md 18: 422 everywhere)."""
    text = str(request.path_params[name])
    if not _UUID.fullmatch(text):
        raise Invalid(f"Invalid {name.removesuffix('_id')} ID: must be a UUID")
    return text.lower()


def query_id(request: Request, name: str) -> str | None:
    """A UUID of the query, lower case; absent is None. Raises Invalid."""
    text = request.query_params.get(name)
    if text and not _UUID.fullmatch(text):
        raise Invalid(f"{name}: must be a UUID")
    return text.lower() if text else None


def flag(request: Request, name: str) -> bool:
    """A yes-or-no of the query; absent is no. Raises Invalid."""
    found = _FLAGS.get(request.query_params.get(name, ""))
    if found is None:
        raise Invalid(f"{name}: must be true or false")
    return found


def number(request: Request, name: str, default: int, most: int) -> int:
    """A whole number of the query from 0 to `most`; absent is the default. Raises Invalid."""
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text[:20]) > most:
        raise Invalid(f"{name}: must be a whole number from 0 to {most}")
    return int(text)


def choice(request: Request, name: str, allowed: tuple[str, ...]) -> str:
    """One of a few words of the query; absent is the first. Raises Invalid."""
    found = request.query_params.get(name, allowed[0])
    if found not in allowed:
        raise Invalid(f"{name}: must be one of {', '.join(word for word in allowed if word)}")
    return found


def words(request: Request, name: str) -> frozenset[str]:
    """A set of words of the query: repeated, comma-separated, or a JSON list (contract/runs.md 8)."""
    found: set[str] = set()
    for text in request.query_params.getlist(name):
        found.update(_list(text))
    return frozenset(word for word in found if word)


def last_event_id(request: Request) -> str | None:
    """After which event a stream goes on: the header, else the query, for EventSource sets no headers."""
    return request.headers.get("last-event-id", request.query_params.get(LAST_EVENT_ID))


def preferences(request: Request) -> frozenset[str]:
    """What the header `Prefer` asks for (RFC 7240), such as `return=minimal`."""
    parts = ",".join(request.headers.getlist("prefer")).lower().split(",")
    return frozenset(part.partition(";")[0].replace(" ", "").replace('"', "") for part in parts)


def _list(text: str) -> list[str]:
    if text.startswith("["):
        try:
            listed = decode(text)
        except ValueError:
            return []
        return [word for word in listed if isinstance(word, str)]
    return [word.strip() for word in text.split(",")]
