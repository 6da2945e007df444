"""How what a graph remembers becomes bytes: strict on the way in, forgiving on the way out.

Only known types are revived, and nothing is pickled (reliability I5, I7). No value fails a run: what msgpack
cannot hold is stored as the nearest value that it can.
"""

import dataclasses
import decimal
from typing import Any

import ormsgpack
import structlog
from langgraph._internal import _serde
from langgraph.checkpoint.serde import _msgpack, jsonplus
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import BaseModel

from ..errors import describe

_log = structlog.get_logger(__name__)

DEPTH_MAX = 100
VALUES_MAX = 2_000_000  # a value that contains itself in many ways must not keep the writer for ever


def be_strict() -> None:
    """What LANGGRAPH_STRICT_MSGPACK asks for, where LangGraph was imported before it was set.

    It holds for graphs that are compiled from now on.
    """
    _msgpack.STRICT_MSGPACK_ENABLED = True
    _serde.STRICT_MSGPACK_ENABLED = True  # type: ignore[attr-defined]


# Without these a secret that no state declares would come back as the text it hides.
_SECRETS = (("pydantic.types", "SecretStr"), ("pydantic.types", "SecretBytes"))


class TolerantSerializer(JsonPlusSerializer):
    """LangGraph's msgpack, strict on the way in, forgiving on the way out."""

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=_SECRETS)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        # The exceptions of tasks are langgraph's own business.
        if obj is None or isinstance(obj, bytes | bytearray | BaseException):
            return super().dumps_typed(obj)
        try:
            return "msgpack", ormsgpack.packb(obj, _default, _OPTION)
        except (TypeError, ValueError, RecursionError):
            return "msgpack", ormsgpack.packb(_Storable().of(obj), _default, _OPTION)


# langgraph's packer writes "?" for a lone surrogate, also in messages; streams say U+FFFD. Without this
# option it refuses, and the forgiving path above repairs the text (reliability 2.9).
_OPTION = jsonplus._option & ~ormsgpack.OPT_REPLACE_SURROGATES
jsonplus._option = _OPTION


def _default(value: Any) -> Any:
    """langgraph's rule for what msgpack does not know, save that exceptions look as on the streams."""
    if isinstance(value, BaseException):
        return describe(value)
    return jsonplus._msgpack_default(value)


class _Storable:
    """Makes the nearest value that msgpack can hold: text for odd keys, U+FFFD for surrogates, else None."""

    def __init__(self) -> None:
        self._left = VALUES_MAX
        self._path: set[int] = set()  # the containers around the value at hand: a cycle ends as None

    def of(self, value: Any) -> Any:
        self._left -= 1
        if isinstance(value, str):
            return fit_text(value)
        if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
            return decimal.Decimal(value)
        if self._left < 0 or len(self._path) >= DEPTH_MAX or id(value) in self._path:
            return None
        self._path.add(id(value))
        try:
            return self._container(value)
        except Exception:  # attributes and iteration are user code
            return None
        finally:
            self._path.discard(id(value))

    def _container(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {_storable_key(key): self.of(item) for key, item in value.items()}
        if isinstance(value, list | set | frozenset) or type(value) is tuple:
            return type(value)(self.of(item) for item in value)
        if isinstance(value, tuple) and hasattr(value, "_make"):  # a named tuple
            return value._make(self.of(item) for item in value)
        if isinstance(value, BaseModel):
            fields = {**value.__dict__, **(value.__pydantic_extra__ or {})}
            copied = value.model_copy(update={name: self.of(item) for name, item in fields.items()})
            return copied if _fits(copied) else None
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value) if field.init]
            replaced = dataclasses.replace(value, **{name: self.of(getattr(value, name)) for name in names})
            return replaced if _fits(replaced) else None
        return value if _fits(value) else None


def _fits(value: Any) -> bool:
    try:
        ormsgpack.packb(value, _default, _OPTION)
    except (TypeError, ValueError, RecursionError):
        _log.warning("a value in the state cannot be stored and becomes null", type=type(value).__qualname__)
        return False
    return True


def fit_text(value: str) -> str:
    """A text in which no half of a character is left: U+FFFD for lone surrogates."""
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _storable_key(key: Any) -> Any:
    if isinstance(key, str):
        return fit_text(key)
    return key if key is None or isinstance(key, bool | int | float) else str(key)
