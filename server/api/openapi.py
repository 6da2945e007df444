"""The OpenAPI 3.1 document, generated from the routes and the schemas."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from .. import __version__
from ..models import Json
from . import described, paging
from .operation import Media, Operation
from .routes import OPERATIONS
from .schemas.meta import Problem
from .schemas.runs import RunCreate

_GRAPH_FIELDS = (
    ("RunCreate", "assistant_id"),
    ("AssistantCreate", "graph_id"),
    ("CronCreate", "assistant_id"),
)
_IDS = {
    "assistant_id": {"type": "string", "description": "An assistant's UUID or a graph's name"},
    "namespace": {"type": "string", "description": "Where the subgraph lies; levels are joined with |"},
}
_GROUPS = {"assistants": "Assistants", "threads": "Threads", "runs": "Stateless Runs", "store": "Store"}
_SCHEMAS = "#/components/schemas/"
PUBLIC = ("/ok",)
_REFUSALS = (400, 401, 403, 500, 503)  # by authentication and by handlers of authorisation
_SELECTED = "Selected"  # ends the name of a schema none of whose fields need be there


def document(
    graph_ids: Sequence[str], operations: Sequence[Operation] = OPERATIONS, security: Json | None = None
) -> Json:
    """The whole document; where a graph can be named, the graphs of this server are examples.

    `security` is what `auth.openapi` says of how to authenticate: `{securitySchemes, security, paths}`; None
    where nobody has to.
    """
    schemas = _Schemas(operations)
    for model, field in _GRAPH_FIELDS:
        if model in schemas.named:
            schemas.named[model]["properties"][field]["examples"] = list(graph_ids)
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    used = {tag for path in paths.values() for found in path.values() for tag in found["tags"]}
    found = {
        "openapi": "3.1.0",
        "info": {"title": "Graphwire", "version": __version__, "description": described.ABOUT},
        "servers": [{"url": "/"}],
        "tags": [
            {"name": name, "description": text} for name, text in described.TAGS.items() if name in used
        ],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.named.items())),
            "responses": {name: _problem(status) for status, (name, _) in described.PROBLEMS.items()},
            "headers": described.HEADERS,
        },
    }
    return found if security is None else _secured(found, security)


def _secured(document: Json, security: Json) -> Json:
    """The document of a server where everybody has to say who he is."""
    named = security.get("paths", {})
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path not in PUBLIC:
                operation["responses"] |= {str(status): _problem_link(status) for status in _REFUSALS}
            own = named.get(path, {}).get(method.upper(), named.get(path, {}).get(method))
            if path in PUBLIC:
                operation["security"] = []
            elif own is not None:
                operation["security"] = own
    schemes = security.get("securitySchemes") or {"bearer": {"type": "http", "scheme": "bearer"}}
    document["components"]["securitySchemes"] = schemes
    document["security"] = security.get("security") or [{name: []} for name in schemes]
    return document


class _Plain(GenerateJsonSchema):
    """Fields are named by their keys: a title beside each would say the same again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class _Schemas:
    """The schemas of all bodies and answers: `named` in the components, `of` those of one operation."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        shapes = [Problem, *(shape for operation in operations for shape in _shapes(operation))]
        adapters = {_key(shape): TypeAdapter(_type(shape)) for shape in shapes}
        self._found, definitions = TypeAdapter.json_schemas(
            [(key, "validation", adapter) for key, adapter in adapters.items()],
            ref_template=_SCHEMAS + "{model}",
            schema_generator=_Plain,
        )
        self.named: Json = _without_sources(definitions.get("$defs", {}))

    def of(self, shape: Any, *, selected: bool = False) -> Json:
        """The schema of a shape; `selected`, one that lacks what the caller did not ask for."""
        found = _without_sources(self._found[_key(shape), "validation"])
        return self._without_required(found) if selected else found

    def described(self, schema: Json) -> str:
        """What a schema is about, in a line."""
        while "description" not in schema and ("items" in schema or "$ref" in schema):
            schema = (
                schema["items"] if "items" in schema else self.named[schema["$ref"].removeprefix(_SCHEMAS)]
            )
        return str(schema.get("description", "Done")).splitlines()[0]

    def _without_required(self, schema: Json) -> Json:
        if "items" in schema:
            return {**schema, "items": self._without_required(schema["items"])}
        name = schema["$ref"].removeprefix(_SCHEMAS)
        whole = self.named[name]
        text = f"{whole['description']} Only the fields that were asked for."
        part = {**{key: whole[key] for key in whole if key != "required"}, "description": text}
        self.named[name + _SELECTED] = {**part, "title": name + _SELECTED}
        return {"$ref": _SCHEMAS + name + _SELECTED}


def _shapes(operation: Operation) -> list[Any]:
    found = [*operation.answers.values(), operation.body]
    shapes: list[Any] = []
    for shape in found:
        shapes += [shape.events, shape.as_json] if isinstance(shape, Media) else [shape]
    return [shape for shape in shapes if shape is not None]


def _type(shape: Any) -> Any:
    return list[shape[0]] if isinstance(shape, list) else shape


def _key(shape: Any) -> str:
    return repr(_type(shape))


def _without_sources(schema: Any) -> Any:
    """Descriptions without the sources of their rules, which are not for users."""
    if isinstance(schema, list):
        return [_without_sources(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _plain(item) if key == "description" and isinstance(item, str) else _without_sources(item)
        for key, item in schema.items()
    }


def _plain(text: str) -> str:
    return re.sub(r"\s*\((?:contract|reliability|docs)[^)]*\)", "", text)


def _operation(operation: Operation, schemas: _Schemas) -> Json:
    answers = {status: _answer(operation, answer, schemas) for status, answer in operation.answers.items()}
    failures = {status: _problem_link(status) for status in operation.failures}
    found: Json = {
        "operationId": _name(operation),
        "summary": _plain((operation.handler.__doc__ or "").strip().splitlines()[0]),
        "tags": [_tag(operation.path)],
        "parameters": _parameters(operation),
        "responses": {str(status): answer for status, answer in sorted({**answers, **failures}.items())},
    }
    if operation.body is not None:
        content = {"application/json": {"schema": schemas.of(operation.body)}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _answer(operation: Operation, answer: Any, schemas: _Schemas) -> Json:
    names = [described.REQUEST_ID, *(operation.headers if answer is not None else ())]
    if operation.paged:
        names += [paging.TOTAL, paging.NEXT]
    headers = {_title(name): _header_link(name) for name in names}
    if answer is None:
        return {"description": "Done", "headers": headers}
    if isinstance(answer, Media):
        content: Json = {"schema": schemas.of(answer.events) if answer.events else {"type": "string"}}
        content |= {} if answer.example is None else {"example": answer.example}
        others = {"application/json": {"schema": schemas.of(answer.as_json)}} if answer.as_json else {}
        return {
            "description": answer.description,
            "headers": headers,
            "content": {answer.media_type: content, **others},
        }
    schema = schemas.of(answer, selected=operation.selects)
    return {
        "description": schemas.described(schema),
        "headers": headers,
        "content": {"application/json": {"schema": schema}},
    }


def _item(answer: Any) -> Any:
    return answer[0] if isinstance(answer, list) else answer


def _problem(status: int) -> Json:
    names = [described.REQUEST_ID, *([described.RETRY_AFTER] if status in (429, 503) else [])]
    return {
        "description": described.PROBLEMS[status][1],
        "headers": {_title(name): _header_link(name) for name in names},
        "content": {"application/json": {"schema": {"$ref": f"{_SCHEMAS}{Problem.__name__}"}}},
    }


def _problem_link(status: int) -> Json:
    return {"$ref": f"#/components/responses/{described.PROBLEMS[status][0]}"}


def _header_link(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _title(header: str) -> str:
    return "-".join(part.capitalize() for part in header.split("-"))


def _parameters(operation: Operation) -> list[Json]:
    found = [_path_parameter(name) for name in re.findall(r"{(\w+)", operation.path)]
    for name, schema in operation.query.items():
        beside: Json = {key: schema[key] for key in ("required", "description") if key in schema}
        inside = {key: value for key, value in schema.items() if key not in beside}
        found.append({"name": name, "in": "query", "required": False, **beside, "schema": inside})
    if _item(operation.body) is RunCreate:
        found.append(described.IDEMPOTENCY_KEY)
    if (
        operation.method == "GET"
        and isinstance(operation.answer, Media)
        and operation.path.endswith(("/stream", "/stream/events"))
    ):
        found.append(described.LAST_EVENT_ID)
    return found


def _path_parameter(name: str) -> Json:
    default = {"type": "string", "format": "uuid", "description": f"The {name.removesuffix('_id')}'s UUID"}
    schema = dict(_IDS.get(name, default))
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": schema.pop("description"),
        "schema": schema,
    }


def _name(operation: Operation) -> str:
    words = re.sub(r"\W+", "_", operation.path).strip("_") or "root"
    return f"{operation.method.lower()}_{words}"


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    if "crons" in parts:
        return "Crons"
    if parts[0] == "threads" and "runs" in parts:
        return "Thread Runs"
    return _GROUPS.get(parts[0], "System")
