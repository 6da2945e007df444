"""The OpenAPI document is valid, complete, and says something of everything in it."""

import re
from collections.abc import Iterator
from typing import Any

import fix_api
import jsonschema_rs
import pytest
import schemathesis
from fix_api import COMPONENTS, DOCUMENT, resolved
from fix_server import Server
from pydantic import BaseModel
from starlette.routing import Route

from server.api.described import PROBLEMS
from server.api.operation import Media, Operation
from server.api.responses import STATUS
from server.api.routes import routes
from server.app import OPERATIONS

# The objects of contract/runs.md 3 and 4 and contract/resources.md 3.1, 4.1, 5.1, 6 and 7: name -> fields.
OBJECTS = {
    "RunView": "run_id thread_id assistant_id metadata status kwargs multitask_strategy created_at "
    "updated_at langsmith_session_name",
    "KwargsView": "input command config context stream_mode interrupt_before interrupt_after webhook "
    "feedback_keys temporary subgraphs resumable checkpoint_during durability",
    "RunCreate": "assistant_id input command checkpoint checkpoint_id config context metadata stream_mode "
    "stream_subgraphs stream_resumable interrupt_before interrupt_after multitask_strategy if_not_exists "
    "on_disconnect on_completion after_seconds durability checkpoint_during webhook feedback_keys "
    "langsmith_tracer",
    "Command": "update resume goto",
    "ResultView": "__error__ __interrupt__",
    "ThreadView": "thread_id created_at updated_at state_updated_at metadata status config values error "
    "interrupts",
    "StateView": "values next tasks metadata created_at checkpoint parent_checkpoint interrupts "
    "checkpoint_id parent_checkpoint_id",
    "TaskView": "id name path error interrupts checkpoint state result",
    "CheckpointView": "thread_id checkpoint_ns checkpoint_id checkpoint_map",
    "InterruptView": "id value",
    "StateUpdate": "values as_node checkpoint checkpoint_id",
    "StateUpdated": "checkpoint configurable checkpoint_id",
    "AssistantView": "assistant_id graph_id name description config context metadata version created_at "
    "updated_at",
    "AssistantVersionView": "assistant_id graph_id name description config context metadata version "
    "created_at",
    "SchemasView": "graph_id input_schema output_schema state_schema config_schema context_schema",
    "DrawingView": "nodes edges",
    "NodeView": "id type data metadata",
    "EdgeView": "source target data conditional",
    "Info": "version langgraph_py_version flags host",
    "Ok": "ok services",
}
# The fields of bodies by contract/endpoints.tsv, of the operations that are served.
BODIES = {
    "POST /assistants": "graph_id assistant_id config context metadata if_exists name description",
    "POST /assistants/search": "metadata graph_id name limit offset sort_by sort_order select",
    "POST /assistants/count": "metadata graph_id name",
    "PATCH /assistants/{assistant_id}": "graph_id config context metadata name description",
    "POST /assistants/{assistant_id}/versions": "metadata limit offset",
    "POST /assistants/{assistant_id}/latest": "version",
    "POST /threads": "thread_id metadata if_exists ttl supersteps",
    "POST /threads/search": "ids metadata values status limit offset sort_by sort_order select extract",
    "POST /threads/count": "metadata values status",
    "POST /threads/prune": "thread_ids strategy",
    "PATCH /threads/{thread_id}": "metadata ttl",
    "POST /threads/{thread_id}/state": "values as_node checkpoint checkpoint_id",
    "POST /threads/{thread_id}/state/checkpoint": "checkpoint subgraphs select",
    "POST /threads/{thread_id}/history": "limit before metadata checkpoint select",
    "PUT /store/items": "namespace key value index ttl",
    "DELETE /store/items": "namespace key",
    "POST /store/items/search": "namespace_prefix filter limit offset query refresh_ttl",
    "POST /store/namespaces": "prefix suffix max_depth limit offset",
    "POST /runs/crons": "assistant_id schedule timezone end_time input metadata config context webhook "
    "interrupt_before interrupt_after on_run_completed enabled stream_mode stream_subgraphs stream_resumable "
    "durability",
    "POST /threads/{thread_id}/runs/crons": "assistant_id schedule timezone end_time input metadata config "
    "context webhook interrupt_before interrupt_after multitask_strategy enabled",
    "POST /runs/crons/search": "assistant_id thread_id enabled metadata limit offset sort_by sort_order "
    "select",
    "POST /runs/crons/count": "assistant_id thread_id metadata",
    "PATCH /runs/crons/{cron_id}": "schedule timezone end_time input metadata config context webhook "
    "on_run_completed enabled",
}
# The parameters of queries by the same table.
QUERIES = {
    "GET /": "check_db",
    "GET /ok": "check_db",
    "DELETE /assistants/{assistant_id}": "delete_threads",
    "GET /assistants/{assistant_id}/graph": "xray",
    "GET /assistants/{assistant_id}/subgraphs": "recurse",
    "GET /assistants/{assistant_id}/subgraphs/{namespace}": "recurse",
    "GET /threads/{thread_id}/state": "subgraphs select",
    "GET /threads/{thread_id}/state/{checkpoint_id}": "subgraphs select",
    "GET /threads/{thread_id}/history": "limit before",
    "GET /store/items": "namespace key refresh_ttl",
    "GET /threads/{thread_id}/runs": "limit offset status select",
    "GET /threads/{thread_id}/runs/{run_id}/stream": "stream_mode cancel_on_disconnect",
    "GET /threads/{thread_id}/runs/{run_id}/join": "cancel_on_disconnect",
    "POST /threads/{thread_id}/runs/{run_id}/cancel": "wait action",
    "POST /runs/cancel": "action",
    "GET /threads/{thread_id}/stream": "stream_modes stream_mode",
}


# Errors that have the form of another protocol; streams that begin no run.
OF_ITS_OWN = ("POST /threads/{thread_id}/commands",)
SUBSCRIBING = ("POST /threads/{thread_id}/stream/events",)


def label(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


BY_LABEL = {label(operation): operation for operation in OPERATIONS}


def shown(operation: Operation) -> dict[str, Any]:
    return DOCUMENT["paths"][operation.path][operation.method.lower()]  # type: ignore[no-any-return]


def body_of(operation: Operation) -> Any:
    schema = shown(operation)["requestBody"]["content"]["application/json"]["schema"]
    return resolved(schema.get("items", schema))


def parameters(operation: Operation, where: str) -> dict[str, Any]:
    return {found["name"]: found for found in shown(operation)["parameters"] if found["in"] == where}


def models(shape: Any) -> Iterator[type[BaseModel]]:
    """The models in a shape and in their fields."""
    if isinstance(shape, list):
        shape = shape[0]
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        yield shape
    for inner in getattr(shape, "__args__", ()):
        yield from models(inner)


operations = pytest.mark.parametrize("operation", OPERATIONS, ids=label)


def test_the_document_is_valid_openapi_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(DOCUMENT).validate()


@pytest.mark.parametrize("name", COMPONENTS["schemas"])
def test_every_schema_is_valid_json_schema(name: str) -> None:
    jsonschema_rs.Draft202012Validator({"components": COMPONENTS, **COMPONENTS["schemas"][name]})
    jsonschema_rs.meta.validate(COMPONENTS["schemas"][name])


def test_what_the_server_sends_is_this_document(server: Server) -> None:
    sent = server.get("/openapi.json")
    assert sent["paths"] == DOCUMENT["paths"]
    assert set(sent["components"]["schemas"]) == set(COMPONENTS["schemas"])


def test_its_examples_name_the_graphs_of_the_server(server: Server) -> None:
    schemas = server.get("/openapi.json")["components"]["schemas"]
    assert "joke" in schemas["RunCreate"]["properties"]["assistant_id"]["examples"]
    assert "joke" in schemas["AssistantCreate"]["properties"]["graph_id"]["examples"]


def test_every_route_is_in_the_document_and_nothing_else_is() -> None:
    routed = {
        (route.path, method.lower())
        for route in routes(OPERATIONS)
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routed == {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}


@operations
def test_every_parameter_of_a_path_is_declared(operation: Operation) -> None:
    declared = parameters(operation, "path")
    assert set(declared) == set(re.findall(r"{(\w+)", operation.path))
    assert all(found["required"] for found in declared.values())


@operations
def test_every_parameter_says_what_it_is(operation: Operation) -> None:
    assert [found["name"] for found in shown(operation)["parameters"] if not found.get("description")] == []


@operations
def test_no_answer_is_without_a_shape(operation: Operation) -> None:
    """An error is a problem; a success has fields, or a type of its own."""
    for status, answer in shown(operation)["responses"].items():
        answer = resolved(answer)
        assert answer["description"]
        for media, content in answer.get("content", {}).items():
            schema = resolved(content["schema"])
            assert {"type", "properties", "anyOf"} & set(schema), f"{status} {media}"
            if status >= "400" and label(operation) not in OF_ITS_OWN:
                assert schema == COMPONENTS["schemas"]["Problem"]


@operations
def test_every_field_of_a_body_is_in_the_document(operation: Operation) -> None:
    for model in models(operation.body):
        fields = {field.alias or name for name, field in model.model_fields.items()}
        assert set(body_of(operation)["properties"]) == fields


@operations
def test_every_field_of_an_answer_is_in_the_document(operation: Operation) -> None:
    for answer in operation.answers.values():
        for model in models(answer):
            fields = {field.alias or name for name, field in model.model_fields.items()}
            assert set(COMPONENTS["schemas"][model.__name__].get("properties", {})) == fields


@pytest.mark.parametrize("name", COMPONENTS["schemas"])
def test_every_schema_and_every_field_says_what_it_is(name: str) -> None:
    schema = COMPONENTS["schemas"][name]
    assert schema.get("description")
    fields = schema.get("properties", {})
    assert [field for field, found in fields.items() if not found.get("description")] == []


def test_no_description_names_a_file_that_users_do_not_have() -> None:
    assert re.findall(r"\((?:contract|reliability)[^)]*\)", str(DOCUMENT)) == []


@pytest.mark.parametrize("status", sorted(set(STATUS.values())))
def test_every_status_of_an_error_is_described(status: int) -> None:
    assert status in PROBLEMS


@pytest.mark.parametrize("name", OBJECTS)
def test_the_objects_of_the_contract_have_all_their_fields(name: str) -> None:
    assert set(OBJECTS[name].split()) - set(COMPONENTS["schemas"][name]["properties"]) == set()


@pytest.mark.parametrize("name", [name for name in BODIES if name in BY_LABEL])
def test_bodies_have_all_the_fields_of_the_contract(name: str) -> None:
    assert set(BODIES[name].split()) - set(body_of(BY_LABEL[name])["properties"]) == set()


@pytest.mark.parametrize("name", QUERIES)
def test_queries_have_all_the_parameters_of_the_contract(name: str) -> None:
    assert set(QUERIES[name].split()) - set(parameters(BY_LABEL[name], "query")) == set()


def test_the_judge_of_answers_lets_pass_what_is_in_the_document() -> None:
    fix_api.judge("GET", "/ok?check_db=1", 200, "application/json")(b'{"ok":true,"services":{}}')
    fix_api.judge("GET", "/docs", 200, "text/html; charset=utf-8")(b"<html>")
    fix_api.judge("GET", "/nowhere", 404, "application/json")(b'{"detail":"Not Found"}')


@pytest.mark.parametrize(
    ("status", "media", "body", "wrong"),
    [
        (418, "application/json", b"{}", "does not know this status"),
        (200, "text/plain", b"ok", "text/plain"),
        (200, None, b"", "None"),
        (200, "application/json", b'{"ok":true}', "services"),
        (200, "application/json", b'{"ok":"yes","services":{}}', "boolean"),
        (200, "application/json", b'{"ok":true,"services":{},"new":1}', "new"),
    ],
)
def test_the_judge_of_answers_sees_what_is_not(
    status: int, media: str | None, body: bytes, wrong: str
) -> None:
    with pytest.raises(AssertionError, match=wrong):
        fix_api.judge("GET", "/ok", status, media)(body)


def test_streams_can_be_resumed_and_runs_be_named() -> None:
    resumed = {name for name in BY_LABEL if "Last-Event-ID" in parameters(BY_LABEL[name], "header")}
    named = {name for name in BY_LABEL if "Idempotency-Key" in parameters(BY_LABEL[name], "header")}
    streams = {
        name for name, found in BY_LABEL.items() if isinstance(found.answer, Media) and "stream" in name
    }
    assert resumed == {name for name in streams if name.startswith("GET")}
    starting = {name for name in streams if name.startswith("POST") and name not in SUBSCRIBING}
    assert named >= starting


@pytest.mark.parametrize(
    ("name", "headers"),
    {
        "POST /threads/{thread_id}/runs": {"Content-Location"},
        "POST /threads/{thread_id}/runs/stream": {"Location", "Content-Location"},
        "POST /runs/wait": {"Location", "Content-Location"},
        "GET /threads/{thread_id}/runs/{run_id}/join": {"Location", "Content-Location"},
        "GET /threads/{thread_id}/stream": {"Location"},
        "POST /assistants/search": {"X-Pagination-Total", "X-Pagination-Next"},
    }.items(),
)
def test_headers_that_clients_go_by_are_declared(name: str, headers: set[str]) -> None:
    assert set(shown(BY_LABEL[name])["responses"]["200"]["headers"]) == {*headers, "X-Request-Id"}


def test_of_a_list_with_chosen_fields_none_is_required() -> None:
    answer = shown(BY_LABEL["POST /assistants/search"])["responses"]["200"]
    schema = resolved(answer["content"]["application/json"]["schema"]["items"])
    whole = COMPONENTS["schemas"]["AssistantView"]
    assert schema["properties"] == whole["properties"]
    assert "required" not in schema
    assert "required" in whole
