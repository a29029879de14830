"""The OpenAPI document of the data plane, and a page to read it on without a network."""

import json
from functools import cache
from html import escape
from importlib.metadata import version
from typing import Any

from gateway.authz import PROFILES
from gateway.wire_schemas import Schema, ref, schemas

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_KEYS: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
_PROBLEM = "application/problem+json"
_TITLES = {
    400: "The request could not be read.",
    401: "No API key, or one nobody knows.",
    402: "A denial that waiting does not help.",
    403: "A denial, or a key that may not do this.",
    404: "No such customer or feature.",
    413: "The body is too large.",
    415: "The body is neither JSON nor msgpack.",
    422: "Well-formed, but not a request we can mean; each fault with a pointer to its place.",
    429: "A denial: a window that resets is used up.",
    503: "Redis did not answer, or the gateway is overloaded: not a quota, and nothing is counted"
    " that is not remembered under an idempotency key.",
}
_TALLY_HEADERS = {
    "X-Tallygate-Status": "The decision's own status, whatever this profile answers with.",
    "X-Tallygate-Reason": "Why.",
    "X-Tallygate-Customer": "Who pays, percent-encoded where a header needs it.",
    "X-Tallygate-Plan": "The plan that decided.",
    "X-Tallygate-Balance": "What is left; empty when unlimited.",
    "X-Tallygate-Resets-At": "When the binding window resets, RFC 3339.",
    "X-Tallygate-Decision": "The id to ask `explain` for.",
    "RateLimit": "draft-ietf-httpapi-ratelimit-headers, in whole units.",
    "RateLimit-Policy": "draft-ietf-httpapi-ratelimit-headers, in whole units.",
}


@cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tallygate data plane",
            "version": version("tallygate"),
            "description": "Decides, on every request, whether a customer may do what they are"
            " trying to do, and counts it in the same step.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": _KEYS,
        "paths": {**_verbs(), **_balances(), **_gates(), **_operations()},
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _verbs() -> dict[str, Any]:
    told = {
        "consume": "Decide and count, atomically.",
        "check": "The same answer, nothing written.",
        "track": "Record usage that has already happened, in full.",
    }
    request = {"anyOf": [ref("Request"), ref("Batch")]}
    answer = {"anyOf": [ref("Decision"), ref("Items"), ref("Answers")]}
    paths = {}
    for verb, summary in told.items():
        refusals = (400, 401, 403, 409, 413, 415, 422, 503)
        post = {
            "operationId": verb,
            "summary": summary,
            "parameters": [] if verb == "check" else [_idempotency_key()],
            "requestBody": {"required": True, "content": _both(request)},
            "responses": {
                "200": {
                    "description": "A decision, or several.",
                    "headers": {
                        **_headers({"X-Tallygate-Request-Id": "This request's name."}),
                        "Idempotent-Replayed": {"schema": {"const": "true"}},
                    },
                    "content": _both(answer),
                },
                **_refusals(*refusals, *((404,) if verb == "track" else ())),
            },
        }
        paths[f"/v1/{verb}"] = {"post": post}
    return paths


def _balances() -> dict[str, Any]:
    customer = _in_path("customer", ref("Customer"))
    feature = _in_path("feature", {"type": "string", "minLength": 1, "examples": ["api_calls"]})
    summary = "The enforcing numbers, now."
    return {
        "/v1/customers/{customer}/balances": {
            "get": {
                "operationId": "balances",
                "summary": summary,
                "parameters": [customer],
                "responses": {
                    "200": _answer("Every feature.", ref("Balances")),
                    **_refusals(400, 401, 403, 404, 422, 503),
                },
            }
        },
        "/v1/customers/{customer}/balances/{feature}": {
            "get": {
                "operationId": "balance",
                "summary": summary,
                "parameters": [customer, feature],
                "responses": {
                    "200": _answer("What a check of one would answer.", ref("Decision")),
                    **_refusals(400, 401, 403, 404, 422, 503),
                },
            }
        },
    }


def _gates() -> dict[str, Any]:
    """/authz: any method, because a proxy asks with the original one."""
    path = _in_path("path", {"type": "string", "examples": ["search"]})
    told = {"X-Original-Method": "GET", "X-Original-URI": "/search?q=tally"}
    uri: list[Schema] = [
        {
            "name": name,
            "in": "header",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "examples": [example]},
        }
        for name, example in told.items()
    ]
    places: dict[str, tuple[str, list[Schema]]] = {
        "/authz/plain/{path}": ("plain", [path]),
        "/authz/nginx": ("nginx", uri),
    }
    assert {name for name, _ in places.values()} == set(PROFILES), "every profile is described"
    return {
        place: {method: _gate(name, method, parameters) for method in METHODS}
        for place, (name, parameters) in places.items()
    }


def _gate(profile: str, method: str, parameters: list[Schema]) -> dict[str, Any]:
    refused = (401, 403, 422) if profile == "nginx" else (400, 401, 402, 403, 422, 429)
    responses = _refusals(*refused, 503)
    if profile == "nginx":
        del responses["422"]
    for response in responses.values():
        response["headers"] = _headers(_TALLY_HEADERS)
    return {
        "operationId": f"authz_{profile}_{method}",
        "summary": f"May this request pass, and who pays? ({profile})",
        "security": [*_KEYS, {}],
        "parameters": parameters,
        "responses": {
            "200": {"description": "It may.", "headers": _headers(_TALLY_HEADERS)},
            **responses,
        },
    }


def _operations() -> dict[str, Any]:
    def get(summary: str, media_type: str, *refusals: int) -> dict[str, Any]:
        schema = {"type": "object"} if media_type == "application/json" else {"type": "string"}
        found = {"description": summary, "content": {media_type: {"schema": schema}}}
        responses = {"200": found, **_refusals(*refusals)}
        return {"get": {"summary": summary, "security": [], "responses": responses}}

    return {
        "/healthz": get("The process is alive.", "application/json"),
        "/readyz": get("It can be trusted with traffic.", "application/json", 503),
        "/metrics": get("For Prometheus.", "text/plain"),
        "/openapi.json": get("This document.", "application/json"),
        "/docs": get("This document, to read.", "text/html"),
    }


def _idempotency_key() -> Schema:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "In place of `idempotencyKey`; not with `batch`.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }


def _in_path(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _both(schema: Schema) -> dict[str, Any]:
    return {media: {"schema": schema} for media in ("application/json", "application/msgpack")}


def _answer(description: str, schema: Schema) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _headers(told: dict[str, str]) -> dict[str, Any]:
    return {
        name: {"description": text, "required": True, "schema": {"type": "string"}}
        for name, text in told.items()
    }


def _refusals(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {
            "description": _TITLES.get(status, "The request contradicts what has happened."),
            "content": {_PROBLEM: {"schema": ref("Problem")}},
        }
        for status in statuses
    }


@cache
def page() -> str:
    """The document as one HTML page that loads nothing."""
    found = document()
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Tallygate data plane</title>",
        "<meta name=viewport content='width=device-width'><style>",
        "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}"
        "code,pre{font:14px/1.45 ui-monospace,monospace}pre{overflow:auto;background:#8881;"
        "padding:1rem}summary{cursor:pointer}</style>",
        f"<h1>{escape(found['info']['title'])}</h1><p>{escape(found['info']['description'])}",
        "<p>The document itself: <a href=/openapi.json>openapi.json</a>.",
    ]
    for path, operations in found["paths"].items():
        # What answers to every method alike is told once.
        shown = list(operations.items())[:1] if len(operations) > 1 else operations.items()
        for method, operation in shown:
            name = "ANY" if len(operations) > 1 else method.upper()
            parts.append(f"<h2><code>{name} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation['summary'])}<ul>")
            for status, response in operation["responses"].items():
                parts.append(f"<li><code>{status}</code> {escape(response['description'])}")
            parts.append("</ul>")
    parts.append("<h1>Schemas</h1>")
    for name, schema in found["components"]["schemas"].items():
        shape = escape(json.dumps(schema, indent=2))
        parts.append(f"<details><summary><code>{name}</code></summary><pre>{shape}</pre></details>")
    return "".join(parts)
