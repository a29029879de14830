"""Bytes to typed requests and decisions to bytes, in JSON or msgpack; strict on the way in, exact on the way out."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Any
from unicodedata import category

import msgspec

from gateway.errors import Fault, Invalid, Malformed, UnsupportedMedia
from gateway.pricing.decision import Decision
from gateway.pricing.explain import actions, message
from gateway.pricing.money import format_amount, format_quantity
from gateway.pricing.window import NEVER_ENDS_MS

ITEMS_MAX = 32
BATCH_MAX = 1_000
METADATA_KEYS_MAX = 16
METADATA_BYTES_MAX = 512
CUSTOMER_LENGTH_MAX = 255
DEPTH_MAX = 8

JSON = b"application/json"
MSGPACK = b"application/msgpack"

Number = int | str | float | None


class Item(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One feature of a request over several."""

    feature: str
    quantity: Number = None
    variant: str | None = None
    usage: dict[str, Number] | None = None


class Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A request of /v1/consume, /v1/check and /v1/track; names as on the wire."""

    customer: str | None = None
    feature: str | None = None
    quantity: Number = None
    idempotencyKey: str | None = None
    entity: dict[str, str] | None = None
    metadata: dict[str, str | int | bool] | None = None
    variant: str | None = None
    usage: dict[str, Number] | None = None
    at: str | None = None
    items: list[Item] | None = None


class Batch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Independent requests in one body; each is decoded by itself, so that one bad one harms no other."""

    batch: list[msgspec.Raw]


class Format:
    """One wire format: how its bodies are read and written."""

    def __init__(self, name: bytes, module: Any) -> None:
        self.content_type = name
        self.encode = module.Encoder().encode
        self._body = module.Decoder(Body)
        self._batch = module.Decoder(Batch)
        self._any = module.Decoder()

    def read(self, raw: bytes) -> Body | Batch:
        """The request in `raw`. Raises Malformed when it is not of this format, Invalid when it is another request."""
        decoder = self._batch if b"batch" in raw and self._is_batch(raw) else self._body
        return self._decode(decoder, raw)  # type: ignore[no-any-return]

    def read_one(self, raw: bytes | msgspec.Raw) -> Body:
        """One request of a batch."""
        return self._decode(self._body, raw)  # type: ignore[no-any-return]

    def _is_batch(self, raw: bytes) -> bool:
        document = self._decode(self._any, raw)
        return isinstance(document, dict) and "batch" in document

    def _decode(self, decoder: Any, raw: bytes | msgspec.Raw) -> Any:
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError as error:
            raise _invalid(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"The body cannot be read: {error}") from None


FORMATS = {JSON: Format(JSON, msgspec.json), MSGPACK: Format(MSGPACK, msgspec.msgpack)}


def format_of(content_type: bytes | None) -> Format:
    """The format of a body by its Content-Type, JSON when there is none. Raises UnsupportedMedia."""
    if content_type is None:
        return FORMATS[JSON]
    found = FORMATS.get(content_type)
    if found is None:
        found = FORMATS.get(content_type.partition(b";")[0].strip().lower())
    if found is None:
        raise UnsupportedMedia
    return found


_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$(.*)`)?", re.DOTALL)
_AT = re.compile(r"(.*?)(?: - at `(?:key in )?\$(.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+|\.\.\.)\]")


def _invalid(text: str) -> Invalid:
    """What msgspec says, as a problem that points into the body and suggests a name."""
    if unknown := _UNKNOWN.fullmatch(text):
        name, path = unknown.groups()
        known = Item.__struct_fields__ if path else Body.__struct_fields__
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean `{close[0]}`?" if close else ""
        detail = f"There is no field `{name}`{hint}"
        return Invalid(
            detail,
            code="unknown_field",
            errors=[Fault(pointer=f"{_pointer(path)}/{name}", code="unknown_field", detail=detail)],
        )
    what, path = _AT.fullmatch(text).groups()  # type: ignore[union-attr]
    return invalid(_pointer(path), f"{what}")


def _pointer(path: str | None) -> str:
    steps = _STEP.findall(path or "")
    return "".join(f"/{name or index}" for name, index in steps)


def invalid(pointer: str, detail: str, code: str = "invalid_value") -> Invalid:
    """A 422 problem about one place of the body."""
    return Invalid(detail, code=code, errors=[Fault(pointer=pointer, code=code, detail=detail)])


def check_customer(customer: str, pointer: str = "/customer") -> str:
    """The id if it can name a customer. Raises Invalid."""
    printable = customer.isprintable() or all(category(c) != "Cc" for c in customer)
    if not printable or not 1 <= len(customer) <= CUSTOMER_LENGTH_MAX:
        raise invalid(pointer, "A customer id is 1 to 255 characters without control characters.")
    return customer


def check_metadata(metadata: Mapping[str, object] | None) -> dict[str, str] | None:
    """Metadata as the ledger keeps it, all values as text. Raises Invalid when it is too much."""
    if not metadata:
        return None
    texts = {
        name: value if isinstance(value, str) else str(value) for name, value in metadata.items()
    }
    size = sum(len(name.encode()) + len(value.encode()) for name, value in texts.items())
    if len(texts) > METADATA_KEYS_MAX or size > METADATA_BYTES_MAX:
        raise invalid("/metadata", "Metadata is at most 16 keys and 512 bytes.")
    return texts


@lru_cache(maxsize=10_000)
def rfc3339(at_ms: int) -> str:
    """RFC 3339 in UTC, with milliseconds only where there are any."""
    seconds, milliseconds = divmod(at_ms, 1000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{milliseconds:03d}Z" if milliseconds else f"{text}Z"


def to_wire(decision: Decision) -> dict[str, Any]:
    """A decision in the names and number forms of the HTTP contract."""
    wire: dict[str, Any] = {
        "allowed": decision.allowed,
        "reason": decision.reason,
        "httpStatus": decision.http_status,
        "message": message(decision),
        "customer": decision.customer,
        "feature": decision.feature,
        "quantity": decision.quantity,
        "balance": decision.balance,
        "available": decision.available,
        "used": decision.used,
        "limit": decision.limit,
        "resetsAt": None if decision.resets_at_ms is None else rfc3339(decision.resets_at_ms),
        "retryAfterMs": decision.retry_after_ms,
        "sources": {
            "included": decision.included,
            "rollover": 0,
            "credits": 0,
            "overage": decision.overage,
        },
        "credits": {},
        "cost": format_amount(decision.cost) if decision.cost else "0",
        "currency": decision.currency,
        "windows": [
            {
                "name": bound.name,
                "every": bound.every,
                "used": bound.used,
                "limit": bound.max,
                "resetsAt": None if bound.end_ms == NEVER_ENDS_MS else rfc3339(bound.end_ms),
            }
            for bound in decision.bounds
        ],
        "plan": decision.plan,
        "catalog": decision.catalog,
        "decision": decision.id,
        "degraded": False,
        "alerts": [],
        "actions": [] if decision.allowed else [_action(action) for action in actions(decision)],
    }
    if decision.beyond:
        wire["sources"]["beyond"] = decision.beyond
    if decision.would is not None:
        wire["would"] = decision.would
    if decision.ask is not None and (scale := decision.ask.feature.scale):
        _scale(wire, scale)
    return wire


def _scale(wire: dict[str, Any], scale: int) -> None:
    """Quantities of a feature with decimals are strings with all their digits."""
    places = (wire, ("quantity", "balance", "available", "used", "limit"))
    windows = [(window, ("used", "limit")) for window in wire["windows"]]
    for document, names in (places, (wire["sources"], tuple(wire["sources"])), *windows):
        for name in names:
            if document[name] is not None:
                document[name] = format_quantity(document[name], scale)


def _action(action: dict[str, object]) -> dict[str, object]:
    until_ms = action.pop("until_ms", None)
    if isinstance(until_ms, int):
        action["until"] = rfc3339(until_ms)
    return action


def wire_of_items(decisions: Sequence[Decision]) -> dict[str, Any]:
    """The answer to a request over several features."""
    allowed = all(decision.allowed for decision in decisions)
    denied = [d.http_status for d in decisions if not d.allowed and d.reason != "not_attempted"]
    return {
        "allowed": allowed,
        "httpStatus": 200 if allowed else denied[0],
        "items": [to_wire(decision) for decision in decisions],
    }
