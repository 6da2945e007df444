"""Any value a graph emits as one line of JSON: encoded once, the same for streams and state, never failing.

The fast path is orjson. What orjson refuses (integers beyond 64 bits, keys that are not text, lone
surrogates, cycles) takes the slow path, where each value is made plain first. The table of values is in
docs/values.md; where the reference has two encoders that disagree (contract/runs.md 20) the one of its
streams is followed.
"""

import base64
import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import math
import pathlib
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from ..errors import describe

DEPTH_MAX = 128  # what lies deeper becomes null; the door refuses such input (reliability A8)
VALUES_MAX = 2_000_000  # on the slow path, which a value that contains itself in many ways would never leave
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
# Dates go through Python: orjson 3.13 crashes the process on a time zone whose code raises.
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATETIME
_DATES = (dt.date, dt.time)  # a datetime is a date
_AS_TEXT = (
    pathlib.PurePath,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
    dt.tzinfo,
)


def encode(value: Any) -> bytes:
    """One line of JSON in UTF-8, without the line separators that some clients cut at (reliability 2.1)."""
    try:
        data = orjson.dumps(value, _unknown, _OPTIONS)
    except (TypeError, ValueError, RecursionError):
        data = orjson.dumps(_Plain().of(value), option=_OPTIONS)
    return _escape(data)


def decode(data: bytes | str) -> Any:
    """The value of JSON text. Raises ValueError."""
    return orjson.loads(data)


def raw(data: bytes) -> Any:
    """JSON that is ready, to be embedded in a value for `encode` as it is."""
    return orjson.Fragment(data)


def _escape(data: bytes) -> bytes:
    # NEL is two bytes, LS and PS share a prefix: three scans at memory speed, mostly in vain.
    if b"\xe2\x80" in data:
        data = data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    if b"\xc2\x85" in data:
        data = data.replace(b"\xc2\x85", b"\\u0085")
    return data


def _unknown(value: Any) -> Any:
    """What orjson does not know, one level down. Anything without a meaning in JSON is null."""
    try:
        return _simplify(value)
    except Exception:  # a property or model_dump of user code failed: that is no reason to fail a run
        return None


def _simplify(value: Any) -> Any:
    if isinstance(value, type):
        return None
    if callable(dump := getattr(value, "model_dump", None)):
        return dump()
    if isinstance(value, BaseException):
        return describe(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, _DATES):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return orjson.Fragment(str(value)) if value.is_finite() else None
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, re.Pattern):
        return value.pattern
    if callable(as_dict := getattr(value, "_asdict", None)):  # a named tuple
        return as_dict()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        return str(value)
    if callable(to_dict := getattr(value, "dict", None)):  # a pydantic v1 model
        return to_dict()
    if isinstance(value, Iterable) and hasattr(value, "__len__"):
        return list(value)
    return None


class _Plain:
    """Makes one value plain, of what orjson takes without asking. Cycles and what is too much are null."""

    def __init__(self) -> None:
        self._left = VALUES_MAX
        self._path: set[int] = set()  # the containers around the value at hand

    def of(self, value: Any) -> Any:
        self._left -= 1
        if self._left < 0 or len(self._path) >= DEPTH_MAX or id(value) in self._path:
            return None
        try:
            return self._scalar(value)
        except Exception:  # attributes and iteration are user code
            return None

    def _scalar(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | orjson.Fragment | uuid.UUID):
            return value
        if isinstance(value, enum.Enum):
            return self.of(value.value)
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, int):
            return int(value) if _INT_MIN <= value <= _INT_MAX else orjson.Fragment(_digits(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        self._path.add(id(value))
        try:
            return self._container(value)
        finally:
            self._path.discard(id(value))

    def _container(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {_key(key): self.of(item) for key, item in value.items()}
        if isinstance(value, list | set | frozenset) or type(value) is tuple:
            return [self.of(item) for item in value]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
            return {name: self.of(getattr(value, name, None)) for name in fields}
        if type(value).__module__ == "numpy":
            return self.of(value.tolist())
        return self.of(_unknown(value))


def _digits(value: int) -> str:
    # str() refuses integers of more than 4,300 digits; hexadecimal has no such limit and neither has Decimal.
    return str(value) if value.bit_length() < 14_000 else format(decimal.Decimal(value), "f")


def _text(value: str) -> str:
    """Lone surrogates have no UTF-8: each becomes U+FFFD, the text around it stays (reliability 2.9)."""
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _key(key: Any) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        return _text(key)
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int):
        return _digits(key)
    if isinstance(key, _DATES):
        return key.isoformat()
    try:
        return _text(str(key))
    except Exception:  # __str__ is user code
        return f"<{type(key).__name__}>"
