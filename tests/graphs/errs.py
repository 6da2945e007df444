"""One node that fails in the way it is asked to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from langchain_core.exceptions import OutputParserException
from langgraph.errors import NodeInterrupt
from langgraph.graph import START, StateGraph
from pydantic import BaseModel


class State(TypedDict, total=False):
    kind: str
    out: str


class Custom(Exception):
    def __init__(self) -> None:
        super().__init__({"code": 7}, "two args")


class NoStr(Exception):
    def __str__(self) -> str:
        raise RuntimeError("str failed")


class Outer:
    class Inner(Exception):
        pass


class MyValueError(ValueError):
    pass


class MyRuntime(RuntimeError):
    pass


class MyKey(KeyError):
    pass


class MyType(TypeError):
    pass


class MyTimeout(TimeoutError):
    pass


class M(BaseModel):
    x: int


RAISED: dict[str, BaseException] = {
    # 36-error-kinds
    "assert": AssertionError("assertion text"),
    "empty": ValueError(),
    "custom": Custom(),
    "nostr": NoStr(),
    "inner": Outer.Inner("in"),
    "timeout": TimeoutError(),
    "timeout2": TimeoutError("took too long"),
    "group": ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
    "perm": PermissionError("no access to /etc/secret"),
    "long": ValueError("x" * 5000),
    "nodeint": NodeInterrupt("ni"),
    "memory": MemoryError("mem"),
    "stopiter": StopIteration("si"),
    "stopasync": StopAsyncIteration("sai"),
    # 36-error-kinds-2
    "index": IndexError("idx"),
    "lookup": LookupError("lk"),
    "notimpl": NotImplementedError("ni"),
    "myvalue": MyValueError("mv"),
    "myruntime": MyRuntime("mr"),
    "mykey": MyKey("mk"),
    "mytype": MyType("mt"),
    "mytimeout": MyTimeout("mto"),
    "overflow": OverflowError("of"),
    "exception": Exception("plain Exception"),
    "arith": ArithmeticError("ar"),
    "name": NameError("nm"),
    "conn": ConnectionError("cn"),
    "eof": EOFError("eof"),
    "buffer": BufferError("bf"),
    "lc": OutputParserException("parse failed"),
    "type": TypeError("tt"),
    "attr2": AttributeError("aa"),
    "unicode": UnicodeError("uu"),
    "syntax": SyntaxError("ss"),
    "warning": UserWarning("ww"),
}


def endless() -> None:
    endless()


def unbound() -> None:
    later += 1  # noqa: F821, F841 - that is the mistake


def chained() -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        raise RuntimeError("outer") from error


CALLED: dict[str, Callable[[], Any]] = {
    "key": lambda: {}["missing"],
    "attr": lambda: None.foo,
    "unbound": unbound,
    "os": lambda: Path("/nonexistent/file").read_text(),
    "chain": chained,
    "import": lambda: __import__("does_not_exist"),
    "zero": lambda: 1 / 0,
    "recursion": endless,
    "badreturn": lambda: "a string",
    "json": lambda: json.loads("{"),
    "pydantic": lambda: M(x="abc"),
}


async def node(state: State):
    kind = state["kind"]
    if kind in RAISED:
        raise RAISED[kind]
    return CALLED[kind]()


async def node2(state: State):
    if state["kind"] == "import":
        raise ImportError("ii")
    return await node({"kind": "attr2" if state["kind"] == "attr" else state["kind"]})


graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
graph2 = StateGraph(State).add_node("node", node2).add_edge(START, "node").compile()
