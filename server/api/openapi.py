"""The OpenAPI 3.1 document, generated from the routes and the schemas."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .. import __version__
from ..models import Json
from . import paging
from .routes import OPERATIONS, Operation
from .schemas.meta import Problem

_GRAPH_FIELDS = (("RunCreate", "assistant_id"), ("AssistantCreate", "graph_id"))
_NAMES = {"assistant_id": "An assistant's UUID or a graph's name", "namespace": "Levels are joined with |"}
_PAGING = {
    paging.TOTAL: {"description": "How many rows there are in all", "schema": {"type": "integer"}},
    paging.NEXT: {"description": "Where the next page begins, if any", "schema": {"type": "integer"}},
}
_REFERENCE = "#/components/schemas/{model}"
_TAGS = {"assistants": "Assistants", "threads": "Threads", "runs": "Runs", "store": "Store"}


def document(graph_ids: Sequence[str], operations: Sequence[Operation] = OPERATIONS) -> Json:
    """The whole document; where a graph can be named, the graphs of this server are examples."""
    models: set[type[BaseModel]] = {Problem}
    for operation in operations:
        models.update(model for shape in (operation.body, operation.answer) for model in _models(shape))
    listed = sorted(models, key=lambda model: model.__name__)
    _, definitions = models_json_schema([(model, "validation") for model in listed], ref_template=_REFERENCE)
    schemas = definitions.get("$defs", {})
    for model, field in _GRAPH_FIELDS:
        if model in schemas:
            schemas[model]["properties"][field]["examples"] = list(graph_ids)
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Graphwire", "version": __version__},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(operation: Operation) -> Json:
    responses: Json = {str(operation.status): _answer(operation.answer)}
    if operation.paged:
        responses[str(operation.status)]["headers"] = _PAGING
    for status in operation.errors if operation.method == "GET" else (*operation.errors, 507):
        responses[str(status)] = _answer(Problem)
    if operation.path.endswith("/cancel"):
        responses["202"] = {"description": "Accepted"}
    found: Json = {
        "operationId": _name(operation),
        "summary": _summary(operation.handler),
        "tags": [_tag(operation.path)],
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.query)],
        "responses": responses,
    }
    if operation.body is not None:
        content = {"application/json": {"schema": _link(operation.body)}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _answer(answer: Any) -> Json:
    if answer is None:
        return {"description": "Done"}
    if isinstance(answer, str):
        return {"description": "OK", "content": {answer: {"schema": {}}}}
    return {
        "description": _summary(_models(answer)[0]),
        "content": {"application/json": {"schema": _link(answer)}},
    }


def _summary(described: Any) -> str:
    """The first line of a docstring, without the source of its rule."""
    first = (described.__doc__ or "").strip().splitlines()[0]
    return re.sub(r" *\(contract[^)]*\)", "", first)


def _models(shape: Any) -> list[type[BaseModel]]:
    shapes = shape if isinstance(shape, list) else [shape]
    return [model for model in shapes if isinstance(model, type)]


def _link(model: Any) -> Json:
    if isinstance(model, list):
        return {"type": "array", "items": _link(model[0])}
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _path_parameters(path: str) -> list[Json]:
    return [_path_parameter(name) for name in re.findall(r"{(\w+)}", path)]


def _path_parameter(name: str) -> Json:
    found: Json = {"name": name, "in": "path", "required": True}
    if name in _NAMES:
        return {**found, "description": _NAMES[name], "schema": {"type": "string"}}
    return {**found, "schema": {"type": "string", "format": "uuid"}}


def _query_parameters(query: Json) -> list[Json]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in query.items()
    ]


def _name(operation: Operation) -> str:
    words = re.sub(r"\W+", "_", operation.path).strip("_") or "root"
    return f"{operation.method.lower()}_{words}"


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    if "runs" in parts:
        return "Runs"
    return _TAGS.get(parts[0], "System")
