"""The types of columns, on every engine.

On PostgreSQL, documents that are searched are JSONB, which knows no NUL; all others are JSON, which is text:
it keeps the order of keys and every character. Texts are compared by their code points, as SQLite does it,
not by the rules of some language; ids are not, for they are compared with those in LangGraph's tables.
"""

import re
import struct
from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import ARRAY, JSON, REAL, LargeBinary, String, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DontWrapMixin

from ..errors import Invalid

FLOAT_BYTES = 4

Id = String(36)
Words = Text().with_variant(Text(collation="C"), "postgresql")
# ISO 8601, UTC, microseconds: sorts as text, is what the wire shows
Timestamp = String(32).with_variant(String(32, collation="C"), "postgresql")
Document = JSON(none_as_null=True)

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class ContainsNul(Invalid, DontWrapMixin):
    """A text that no search could go through."""


def refuse_nul(document: Any, name: str) -> None:
    """Raises ContainsNul for JSON that has the character NUL in a text or a key."""
    if _NUL.search(orjson.dumps(document)):
        raise ContainsNul(f"{name}: must not contain the character NUL (\\u0000)")


class Metadata(TypeDecorator[Any]):
    """Metadata that are searched. Raises ContainsNul where they cannot be stored so."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(JSONB(none_as_null=True))
        return dialect.type_descriptor(JSON(none_as_null=True))

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        if dialect.name == "postgresql":
            refuse_nul(value, "metadata")
        return value


class RawJson(TypeDecorator[bytes]):
    """JSON that Python never decodes: bytes in, bytes out."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Any) -> str | None:
        return None if value is None else value.decode()

    def process_result_value(self, value: str | None, dialect: Any) -> bytes | None:
        return None if value is None else value.encode()


class Vector(TypeDecorator[bytes]):
    """Packed numbers (float32, little-endian); on PostgreSQL an array of them."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        return dialect.type_descriptor(ARRAY(REAL) if dialect.name == "postgresql" else LargeBinary())

    def process_bind_param(self, value: bytes | None, dialect: Any) -> bytes | Sequence[float] | None:
        if value is None or dialect.name != "postgresql":
            return value
        return list(unpack(value))


def unpack(vector: bytes) -> tuple[float, ...]:
    """The numbers of a packed vector."""
    return struct.unpack(f"<{len(vector) // FLOAT_BYTES}f", vector)
