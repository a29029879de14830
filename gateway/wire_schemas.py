"""JSON Schemas of what goes over the wire: requests from the structs that read them, answers by hand."""

from typing import Any

import msgspec

from gateway.codec import (
    BATCH_MAX,
    CUSTOMER_LENGTH_MAX,
    ITEMS_MAX,
    METADATA_KEYS_MAX,
    Body,
    Item,
)
from gateway.endpoints import KEY_LENGTH_MAX
from gateway.errors import Fault
from gateway.pricing.entitlement import QUANTITY_MAX

Schema = dict[str, Any]

NOT_YET = ("at", "entity")
"""Fields of a request that this release refuses by name; they are not offered."""

_TIME: Schema = {"type": "string", "format": "date-time"}
_REF = "#/components/schemas/"


def schemas() -> dict[str, Schema]:
    """Every component schema by name."""
    return {
        "Quantity": _quantity(),
        "Customer": {
            "type": "string",
            "minLength": 1,
            "maxLength": CUSTOMER_LENGTH_MAX,
            "description": "Without control characters; percent-encoded in a path.",
            "examples": ["acme"],
        },
        **_requests(),
        "Decision": _decision(),
        "Items": _items(),
        "Answers": _answers(),
        "Balances": _balances(),
        "Problem": _problem(),
    }


def ref(name: str) -> Schema:
    """A reference to a component schema."""
    return {"$ref": _REF + name}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _quantity() -> Schema:
    return {
        "description": "An integer for a feature without `scale`, a decimal string with all its"
        " digits for one with it. Requests may send either as a string.",
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": QUANTITY_MAX},
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"},
        ],
    }


def _requests() -> dict[str, Schema]:
    """Item, Request and Batch, as the structs have them, with what a struct cannot say."""
    _, found = msgspec.json.schema_components((Body, Item), ref_template=_REF + "{name}")
    item, request = found["Item"], found["Body"]
    for schema in (item, request):
        properties = schema["properties"]
        properties["quantity"] = {**_nullable(ref("Quantity")), "examples": [1]}
        properties["feature"]["examples"] = ["api_calls"]
        kinds = {"type": "object", "additionalProperties": ref("Quantity")}
        properties["usage"] = _nullable(kinds)
        schema.pop("title", None)
    properties = request["properties"]
    for name in NOT_YET:
        del properties[name]
    properties["customer"] = _nullable(ref("Customer"))
    properties["metadata"]["anyOf"][0]["maxProperties"] = METADATA_KEYS_MAX
    key = {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH_MAX}
    properties["idempotencyKey"] = _nullable(key)
    many = {"type": "array", "items": ref("Item"), "minItems": 1, "maxItems": ITEMS_MAX}
    properties["items"] = _nullable(many)
    request["description"] = "One feature, or several in `items`: all of them or none."
    request["anyOf"] = [{"required": ["feature"]}, {"required": ["items"]}]
    batch = {
        "type": "object",
        "description": "Requests that are decided each by itself, and answered in their order: one"
        " that cannot be meant is answered by its problem and harms no other.",
        "properties": {
            "batch": {
                "type": "array",
                "items": {"anyOf": [ref("Request"), {"description": "Answered by a problem."}]},
                "minItems": 1,
                "maxItems": BATCH_MAX,
            }
        },
        "required": ["batch"],
        "additionalProperties": False,
    }
    return {"Item": item, "Request": request, "Batch": batch}


def _decision() -> Schema:
    number = ref("Quantity")
    text: Schema = {"type": "string"}
    maybe_text: Schema = {"type": ["string", "null"]}
    window: Schema = {
        "type": "object",
        "properties": {
            "name": text,
            "every": text,
            "used": number,
            "limit": number,
            "resetsAt": _nullable(_TIME),
        },
        "required": ["name", "every", "used", "limit", "resetsAt"],
    }
    properties: dict[str, Schema] = {
        "allowed": {"type": "boolean"},
        "reason": text,
        "httpStatus": {"type": "integer", "description": "What to answer the end user with."},
        "message": text,
        "customer": text,
        "feature": text,
        "quantity": number,
        "balance": _nullable(number),
        "available": _nullable(number),
        "used": number,
        "limit": _nullable(number),
        "resetsAt": _nullable(_TIME),
        "retryAfterMs": {"type": ["integer", "null"], "minimum": 0},
        "sources": {"type": "object", "additionalProperties": number},
        "credits": {"type": "object"},
        "cost": {"type": "string", "description": "What this adds to the bill, exactly."},
        "currency": maybe_text,
        "windows": {"type": "array", "items": window},
        "plan": maybe_text,
        "catalog": {"type": ["integer", "null"]},
        "decision": maybe_text,
        "degraded": {"type": "boolean"},
        "alerts": {"type": "array", "items": text},
        "actions": {
            "type": "array",
            "items": {"type": "object", "properties": {"type": text}, "required": ["type"]},
        },
    }
    return {
        "type": "object",
        "description": "HTTP 200, allowed or not: a denial is data. The lists may grow.",
        "properties": {**properties, "would": text},
        "required": list(properties),
    }


def _items() -> Schema:
    return {
        "type": "object",
        "properties": {
            "allowed": {"type": "boolean"},
            "httpStatus": {"type": "integer"},
            "items": {"type": "array", "items": ref("Decision")},
        },
        "required": ["allowed", "httpStatus", "items"],
    }


def _answers() -> Schema:
    one = {"anyOf": [ref("Decision"), ref("Items"), ref("Problem")]}
    return {
        "type": "object",
        "properties": {"batch": {"type": "array", "items": one}},
        "required": ["batch"],
    }


def _balances() -> Schema:
    period = {
        "type": "object",
        "properties": {"start": _TIME, "end": _TIME},
        "required": ["start", "end"],
    }
    spend = {
        "type": "object",
        "properties": {
            "amount": {"type": "string"},
            "cap": {"type": ["string", "null"]},
            "currency": {"type": "string"},
        },
        "required": ["amount", "cap", "currency"],
    }
    return {
        "type": "object",
        "properties": {
            "customer": {"type": "string"},
            "at": _TIME,
            "plan": {"type": "string"},
            "catalog": {"type": "integer"},
            "period": _nullable(period),
            "features": {"type": "object", "additionalProperties": ref("Decision")},
            "credits": {"type": "object"},
            "spend": spend,
        },
        "required": ["customer", "at", "plan", "catalog", "period", "features", "spend"],
    }


def _problem() -> Schema:
    fault = msgspec.json.schema_components((Fault,))[1]["Fault"]
    properties: dict[str, Schema] = {
        "type": {"type": "string", "format": "uri"},
        "code": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "requestId": {"type": "string"},
        "errors": {"type": "array", "items": fault},
    }
    return {
        "type": "object",
        "description": "RFC 9457. A quota that is used up is this too, on /authz.",
        "properties": properties,
        "required": ["type", "code", "title", "status", "detail", "requestId"],
    }
