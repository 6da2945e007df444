"""What a graph looks like from outside: its drawing and its JSON schemas (contract/resources.md 3.3).

Whoever calls this lets user code run, and waits for it: types may be described by their own methods.
"""

from collections.abc import Callable
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import structlog
from langgraph.channels.base import BaseChannel
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.pregel.protocol import PregelProtocol
from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from typing_extensions import TypedDict, is_typeddict

from ..models import Json
from .catalog import Graph

_log = structlog.get_logger(__name__)
Outline = PregelProtocol[Any, Any, Any, Any]  # a graph here or, as a subgraph, elsewhere
_typed_dict: Any = TypedDict  # mypy wants its fields in the code


async def drawing(graph: Graph, xray: bool | int) -> Json:
    """Nodes and edges, `{nodes: [{id, type, data, metadata}], edges: [...]}`; `xray` levels are expanded."""
    drawn = (await graph.aget_graph(xray=xray)).to_json()
    return {"nodes": [_node(node) for node in drawn["nodes"]], "edges": drawn["edges"]}


def _node(node: Json) -> Json:
    """A node without the names of its Python class, which clients do not know."""
    data = node.get("data")
    return {**node, "data": {"name": data["name"]}} if isinstance(data, dict) and "name" in data else node


def schemas(graph: Outline) -> Json:
    """The five JSON schemas; null where a type has none, `{}` for the config of a graph without context."""
    context = _unless_it_fails(_context, graph)
    return {
        "input_schema": _unless_it_fails(_input, graph),
        "output_schema": _unless_it_fails(_output, graph),
        "state_schema": _unless_it_fails(_state, graph),
        "config_schema": context or {},
        "context_schema": context,
    }


async def subgraph_schemas(graph: Graph, namespace: str | None, recurse: bool) -> Json:
    """`{namespace: schemas}` of the graphs inside; nested ones, `a|b`, only with `recurse`."""
    inside = graph.aget_subgraphs(namespace=namespace, recurse=recurse)
    return {name: schemas(subgraph) async for name, subgraph in inside}


def _unless_it_fails(describe: Callable[[Any], Json | None], graph: Outline) -> Json | None:
    try:
        return describe(graph)
    except Exception as failure:  # types are user code; what can be described should be
        _log.debug("a schema cannot be made", what=describe.__name__.strip("_"), error=str(failure))
        return None


def _input(graph: Any) -> Json:
    builder = graph.builder if isinstance(graph, CompiledStateGraph) else None
    if builder is not None and is_typeddict(builder.input_schema):
        return _described(builder.input_schema)
    return cast(Json, graph.get_input_jsonschema())


def _output(graph: Any) -> Json:
    builder = graph.builder if isinstance(graph, CompiledStateGraph) else None
    if builder is not None and is_typeddict(builder.output_schema):
        return _described(builder.output_schema)
    return cast(Json, graph.get_output_jsonschema())


def _context(graph: Any) -> Json | None:
    schema = getattr(graph, "context_schema", None)
    return _described(schema) if is_typeddict(schema) else graph.get_context_jsonschema()


def _state(graph: Any) -> Json | None:
    """What may be written to the state: every channel that `values` shows, none of them required."""
    if not isinstance(graph, Pregel):
        return None
    channels = ((name, graph.channels[name]) for name in graph.stream_channels_list)
    types = {name: channel.UpdateType for name, channel in channels if isinstance(channel, BaseChannel)}
    found = _described(_typed_dict(graph.get_name("State"), types, total=False))
    for field in found.get("properties", {}).values():
        field.setdefault("default", None)
    return found


class _Forgiving(GenerateJsonSchema):
    """What JSON Schema has no words for may be anything: one odd field must not hide the others."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}


def _described(schema: Any) -> Json:
    """The JSON schema of a TypedDict."""
    known = _known(schema)
    known.__pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)
    return TypeAdapter(known).json_schema(schema_generator=_Forgiving)


def _known(hint: Any) -> Any:
    """A type with typing's TypedDicts made into those of typing_extensions, wherever they stand in it.

    Before Python 3.12 pydantic describes no others, and most graphs are written with typing's.
    """
    if is_typeddict(hint):
        return _copied(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if not arguments or origin is Literal or not any(map(_holds_typeddict, arguments)):
        return hint
    if origin is Annotated:
        return Annotated[(_known(arguments[0]), *arguments[1:])]
    known = tuple(map(_known, arguments))
    return Union[known] if origin in (Union, UnionType) else origin[known]  # noqa: UP007 - not an annotation


def _holds_typeddict(hint: Any) -> bool:
    return is_typeddict(hint) or any(map(_holds_typeddict, get_args(hint)))


def _copied(schema: Any) -> Any:
    required = schema.__required_keys__
    fields = {
        name: (Required if name in required else NotRequired)[_known(_bare(hint))]
        for name, hint in get_type_hints(schema, include_extras=True).items()
    }
    made = _typed_dict(schema.__name__, fields)
    made.__doc__ = schema.__doc__
    made.__module__ = schema.__module__
    return made


def _bare(hint: Any) -> Any:
    """A hint without Required and NotRequired around it."""
    wrapped = get_origin(hint) in (Required, NotRequired)
    return _bare(get_args(hint)[0]) if wrapped else hint
