"""Where in a text of JSON each of its values stands, so that a problem can be shown where it is."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Places:
    """Offsets of the keys of objects and the items of lists, and of keys that stand there once more."""

    text: str
    of: dict[Path, int] = field(default_factory=lambda: {(): 0})
    repeated: list[Path] = field(default_factory=list)

    def line_of(self, path: Path) -> tuple[int, int]:
        """Line and column, counted from 1, of a value or the nearest thing around it that there is."""
        while path not in self.of:
            path = path[:-1]
        before = self.text[: self.of[path]]
        return before.count("\n") + 1, len(before) - before.rfind("\n")


def places(text: str) -> Places:
    """The places in a text that is valid JSON."""
    found = Places(text)
    _value(_Tokens(text), (), found)
    return found


class _Tokens:
    """The tokens of a text with their offsets, one looked at in advance."""

    def __init__(self, text: str) -> None:
        self._matches: Iterator[re.Match[str]] = _TOKEN.finditer(text)
        self._next = next(self._matches, None)

    def peek(self) -> str:
        return self._next[1] if self._next else ""

    def start(self) -> int:
        """Where the next one begins."""
        return self._next.start(1) if self._next else 0

    def take(self) -> tuple[str, int]:
        assert self._next is not None, "the text is not JSON"
        token = self._next
        self._next = next(self._matches, None)
        return token[1], token.start(1)


def _value(tokens: _Tokens, path: Path, found: Places) -> None:
    token, _ = tokens.take()
    if token not in ("{", "["):
        return
    end = "}" if token == "{" else "]"
    index = 0
    while tokens.peek() != end:
        if token == "{":
            key, offset = tokens.take()
            name: str | int = json.loads(key)
            tokens.take()  # the colon
            if (*path, name) in found.of:
                found.repeated.append((*path, name))
            found.of[*path, name] = offset
        else:
            name = index
            index += 1
            found.of[*path, name] = tokens.start()
        _value(tokens, (*path, name), found)
        if tokens.peek() == ",":
            tokens.take()
    tokens.take()


def path_of(key: str, document: Any) -> Path:
    """The path behind a key such as `store.index.dims`, as far as the document has it.

    Names may hold dots: the longest that is there is meant.
    """
    parts = key.split(".")
    path: Path = ()
    while parts and isinstance(document, dict):
        lengths = range(len(parts), 0, -1)
        name = next((".".join(parts[:n]) for n in lengths if ".".join(parts[:n]) in document), None)
        if name is None:
            break
        document, path, parts = document[name], (*path, name), parts[name.count(".") + 1 :]
    return path
