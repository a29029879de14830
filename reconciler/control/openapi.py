"""The OpenAPI document of the control plane, made of the same list that is routed."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from reconciler.control.call import Answer, Call, Operation, Parts
from reconciler.control.errors import Problem

_PARAMETER = re.compile(r"\{([a-z]+)\}")
_REF = "#/components/schemas/{name}"
_ALWAYS = (400, 401, 403, 405, 503)
_BOUNDED = {"limit": {"type": "integer", "minimum": 1, "maximum": 1000}}
_WORDS = {
    "by": ["hour", "day"],
    "allowed": ["true", "false"],
    "when": ["now", "period_end"],
    "existing": ["renewal", "now", "keep"],
    "dryRun": ["true", "false"],
    "verify": ["true", "false"],
    "status": ["draft", "finalized", "void"],
    "revoked": ["true", "false"],
}
_INSTANTS = ("from", "to")

_document: dict[str, Any] = {}


def describe(operations: Sequence[Operation]) -> dict[str, Any]:
    """Make the document of a list of operations; `GET /openapi.json` answers the last one made."""
    structs = [each.body for each in operations if each.body is not None]
    _, components = msgspec.json.schema_components([*structs, Problem], ref_template=_REF)
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    _document.clear()
    _document.update(
        openapi="3.1.0",
        info={
            "title": "Tallygate control plane",
            "version": "1",
            "description": "Catalog, customers, subscriptions, keys, usage, invoices. "
            "Never exposed to customers.",
        },
        paths=paths,
        components={
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        security=[{"bearer": []}, {"apiKey": []}],
    )
    return dict(_document)


def get_openapi(parts: Parts, call: Call) -> Answer:
    """This document."""
    return Answer(body=_document)


def _operation(operation: Operation) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": _operation_id(operation),
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation)],
        "responses": _responses(operation),
    }
    if operation.scope == "public":
        said["security"] = []
    else:
        said["description"] = f"Scope `{operation.scope}`."
    if operation.path == "/v1/catalog" and operation.method == "PUT":
        said["requestBody"] = {
            "required": True,
            "content": {
                "application/yaml": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "object"}},
            },
        }
    elif operation.body is not None:
        (schema,), _ = msgspec.json.schema_components([operation.body], ref_template=_REF)
        said["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return said


def _operation_id(operation: Operation) -> str:
    words = _PARAMETER.sub(r"by_\1", operation.path).replace(".", "_").split("/")
    return "_".join([operation.method.lower(), *filter(None, words)])


def _path_parameters(path: str) -> list[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1, "maxLength": 255}
    return [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name in _PARAMETER.findall(path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": description,
            "schema": _query_schema(name),
        }
        for name, description in operation.query.items()
    ]


def _query_schema(name: str) -> dict[str, Any]:
    if name in _WORDS:
        return {"type": "string", "enum": _WORDS[name]}
    if name in _INSTANTS:
        return {"type": "string", "format": "date-time"}
    return _BOUNDED.get(name, {"type": "string"})


def _responses(operation: Operation) -> dict[str, Any]:
    problem = {
        "content": {
            "application/problem+json": {"schema": {"$ref": _REF.format(name=Problem.__name__)}}
        }
    }
    answers: dict[str, Any] = {}
    for status in operation.statuses:
        later = "Done in Postgres; in force as soon as Redis is back."
        answers[str(status)] = {
            "description": later if status == 202 else operation.summary,
            "content": _content(operation),
        }
    may_fail = [*_ALWAYS] if operation.scope != "public" else [400, 405, 503]
    if operation.scope != "public":
        may_fail.append(422)
    if "{" in operation.path:
        may_fail.append(404)
    if operation.method != "GET":
        may_fail += [409, 413]
    if operation.body is not None or operation.method == "PUT":
        may_fail.append(415)
    for status in sorted(may_fail):
        answers[str(status)] = {"description": "A problem", **problem}
    return answers


def _content(operation: Operation) -> dict[str, Any]:
    if operation.path == "/":
        return {"text/html": {"schema": {"type": "string"}}}
    if operation.path == "/v1/invoices/{id}":
        page: dict[str, Any] = {"schema": {"type": "string"}}
        plain: dict[str, Any] = {"schema": {"type": "object"}}
        return {"application/json": plain, "text/html": page, "text/csv": page}
    return {"application/json": {"schema": {"type": "object"}}}


OPERATIONS = (
    Operation(
        method="GET",
        path="/openapi.json",
        endpoint=get_openapi,
        summary="This document",
        scope="public",
    ),
)
