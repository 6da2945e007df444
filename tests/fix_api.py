"""The OpenAPI document in the hands of tests: whatever a server answers must be in it."""

import functools
import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema_rs

from server.api.openapi import document
from server.app import OPERATIONS

DOCUMENT = document(["agent"], OPERATIONS)
JUDGED = document(["agent"], OPERATIONS, {})  # of a server with authentication, which has more answers
COMPONENTS = DOCUMENT["components"]
BODY_BYTES_MAX = 2**20  # larger ones are not judged: they would take long


def resolved(found: Any) -> Any:
    """What a reference of the document leads to."""
    while "$ref" in found:
        at: Any = JUDGED
        for name in found["$ref"].split("/")[1:]:
            at = at[name]
        found = at
    return found


def closed(schemas: dict[str, Any]) -> dict[str, Any]:
    """Schemas that take no field beside those they name, save where they say so."""

    def close(schema: dict[str, Any]) -> dict[str, Any]:
        named = "properties" in schema and "additionalProperties" not in schema
        return {**schema, "additionalProperties": False} if named else schema

    return {name: close(schema) for name, schema in schemas.items()}


@functools.cache
def operation(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """(its path in the document, the operation) that answers a request; None: there is none."""
    plain, known = path.partition("?")[0], method.lower()
    for template in sorted(JUDGED["paths"], key=lambda path: path.count("{")):  # as they are routed
        pattern = re.sub(r"{[^}]*}", "[^/]+", template)
        if known in JUDGED["paths"][template] and re.fullmatch(pattern, plain):
            return template, JUDGED["paths"][template][known]
    return None


@functools.cache
def _validator(path: str, method: str, status: str, media: str) -> jsonschema_rs.Draft202012Validator:
    answer = resolved(JUDGED["paths"][path][method]["responses"][status])
    schema = answer["content"][media]["schema"]
    return jsonschema_rs.Draft202012Validator(
        {"components": {"schemas": closed(COMPONENTS["schemas"])}, "allOf": [schema]}
    )


def judge(method: str, path: str, status: int, media: str | None) -> Callable[[bytes], None]:
    """Raises AssertionError where an answer leaves the document: by its status, its media type, its body.

    What is no operation has a 404 or 405 that no document knows of.
    """
    found = operation(method, path)
    if found is None or status == 405:
        return lambda body: None
    template, described = found
    name = f"{method} {template} {status}"
    assert str(status) in described["responses"], f"{name}: the document does not know this status"
    content = resolved(described["responses"][str(status)]).get("content", {})
    plain = media.partition(";")[0] if media else None
    assert plain in (content or {None: None}), f"{name} is {plain}, in the document {[*content]}"
    if plain != "application/json":
        return lambda body: None
    validator = _validator(template, method.lower(), str(status), plain)

    def check(body: bytes) -> None:
        if len(body) > BODY_BYTES_MAX:
            return
        for error in validator.iter_errors(json.loads(body)):
            raise AssertionError(f"{name}: {error.message[:1000]} at {list(error.instance_path)}")

    return check
