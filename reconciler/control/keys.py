"""API keys: made here and shown once, or made elsewhere and known by their SHA-256."""

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
from psycopg import Connection
from psycopg.errors import ForeignKeyViolation

from gateway.pricing.window import format_instant
from reconciler.clock import instant, milliseconds
from reconciler.control.body import unknown_name
from reconciler.control.call import Answer, Call, Operation, Parts, customer_id, limit_of
from reconciler.control.errors import Conflict, Fault, Invalid, NotFound
from reconciler.control.pages import answer_page, cursor, read_cursor
from reconciler.publisher import push_keys
from reconciler.sql import queries

PREFIX = "tg_live_"
SECRET_BYTES = 32
IMPORT_MAX = 1_000
"""Keys that one request makes known."""
SCOPES = ("check", "consume", "hold", "reverse", "read", "enroll", "admin")
SCOPES_DEFAULT = ["check", "consume", "hold", "reverse", "read"]
BOUND_MAX = 1_000
"""Customers, or features, that one key can be bound to."""
_BASE62 = string.digits + string.ascii_letters

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Bound = Annotated[list[Id], msgspec.Meta(max_length=BOUND_MAX)]


class ImportedKey(msgspec.Struct, forbid_unknown_fields=True):
    """A customer's key that was issued elsewhere."""

    customer: Id
    sha256: Digest
    label: Annotated[str, msgspec.Meta(max_length=255)] = ""


class KeyBody(msgspec.Struct, forbid_unknown_fields=True):
    """A key to make, or with `sha256` or `keys` to make known."""

    customer: Id | None = None
    """A customer key stands for this customer; without it, the key is a service key."""
    scopes: Annotated[list[str], msgspec.Meta(max_length=len(SCOPES))] | None = None
    customers: Bound = []
    """A service key may name these only; empty: any."""
    features: Bound = []
    label: Annotated[str, msgspec.Meta(max_length=255)] = ""
    kind: Literal["service", "customer"] | None = None
    sha256: Digest | None = None
    keys: Annotated[list[ImportedKey], msgspec.Meta(max_length=IMPORT_MAX)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key about to be stored; only its hash is."""

    sha256: str
    customer: str | None
    label: str
    scopes: Sequence[str] = ()
    customers: Sequence[str] = ()
    features: Sequence[str] = ()


def post_key(parts: Parts, call: Call) -> Answer:
    """Make a key, or make keys known that were issued elsewhere."""
    call.queries()
    body = call.struct(KeyBody)
    _check(body)
    secret = None
    if body.keys is not None:
        wanted = [
            NewKey(sha256=each.sha256, customer=each.customer, label=each.label)
            for each in body.keys
        ]
    else:
        if body.sha256 is None:
            secret = new_secret()
        wanted = [
            NewKey(
                sha256=body.sha256 or sha256((secret or "").encode()).hexdigest(),
                customer=body.customer,
                label=body.label,
                scopes=[] if body.customer else body.scopes or SCOPES_DEFAULT,
                customers=body.customers,
                features=body.features,
            )
        ]
    with parts.postgres() as connection:
        with connection.transaction():
            now_ms = parts.clock.now_ms(connection)
            rows = [
                _add(connection, each, now_ms, _pointer(body, n)) for n, each in enumerate(wanted)
            ]
        in_force = push_keys(connection, parts.redis, [each.sha256 for each in wanted])
    shown = [_plain(row) for row in rows]
    status = 201 if in_force else 202
    if body.keys is not None:
        return Answer(body={"data": shown, "next": None, "applied": in_force}, status=status)
    made = {**shown[0], "applied": in_force}
    return Answer(body=made if secret is None else {**made, "key": secret}, status=status)


def list_keys(parts: Parts, call: Call) -> Answer:
    """Keys, the newest first, never their secrets."""
    asked = call.queries("limit", "after", "customer", "revoked")
    limit = limit_of(asked)
    after = read_cursor(asked["after"], int, str) if "after" in asked else None
    with parts.postgres() as connection:
        rows = connection.execute(
            queries["control_keys"],
            {
                "customer": asked.get("customer"),
                "revoked": asked.get("revoked") in ("true", "1"),
                "before": None if after is None else instant(after[0]),
                "before_id": None if after is None else after[1],
                "limit": limit + 1,
            },
        ).fetchall()
    return answer_page(rows, limit, lambda row: cursor(milliseconds(row[7]), row[0]), shown=_plain)


def get_key(parts: Parts, call: Call) -> Answer:
    """One key, by its id."""
    call.queries()
    with parts.postgres() as connection:
        row = connection.execute(queries["control_key"], {"id": call.part("id")}).fetchone()
    if row is None:
        raise NotFound("There is no key with that id.")
    return Answer(body=_plain(row))


def delete_key(parts: Parts, call: Call) -> Answer:
    """Revoke a key; it stays listed as revoked."""
    call.queries()
    with parts.postgres() as connection:
        with connection.transaction():
            revoked = connection.execute(
                queries["control_revoke_key"],
                {"id": call.part("id"), "now": instant(parts.clock.now_ms(connection))},
            ).fetchone()
            if revoked is None:
                raise NotFound("There is no key with that id.")
        in_force = push_keys(connection, parts.redis, [revoked[1]])
        row = connection.execute(queries["control_key"], {"id": revoked[0]}).fetchone()
    return Answer(body={**_plain(row), "applied": in_force}, status=200 if in_force else 202)


def new_secret() -> str:
    """A key of 256 random bits, in letters and digits."""
    number = int.from_bytes(secrets.token_bytes(SECRET_BYTES), "big")
    digits = []
    for _ in range(43):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return PREFIX + "".join(reversed(digits))


def _check(body: KeyBody) -> None:
    """Raise Invalid for everything that does not go together."""
    faults: list[Fault] = []

    def refuse(pointer: str, detail: str, code: str = "invalid_value") -> None:
        faults.append(Fault(pointer=pointer, code=code, detail=detail))

    for place, scope in enumerate(body.scopes or ()):
        if scope not in SCOPES:
            faults.append(unknown_name("scope", scope, list(SCOPES), f"/scopes/{place}"))
    if body.keys is not None and body != KeyBody(keys=body.keys):
        refuse("/keys", "With keys, everything else stands in its entries.")
    if body.keys == []:
        refuse("/keys", "keys has at least one entry.")
    if body.customer is not None and (body.scopes is not None or body.customers):
        detail = "A customer key has no scopes of its own and stands for one customer."
        refuse("/scopes" if body.scopes is not None else "/customers", detail)
    if body.scopes == []:
        refuse("/scopes", "A service key has at least one scope.")
    if body.kind == "customer" and body.customer is None and body.keys is None:
        refuse("/customer", "A customer key names its customer.", "missing_field")
    if body.kind == "service" and body.customer is not None:
        refuse("/kind", "A key with a customer is a customer key.")
    named = [
        (body.customer, "/customer"),
        *((each, f"/customers/{place}") for place, each in enumerate(body.customers)),
        *((each.customer, f"/keys/{n}/customer") for n, each in enumerate(body.keys or ())),
    ]
    for customer, pointer in named:
        try:
            customer_id(customer or "-", pointer)
        except Invalid as error:
            faults.extend(error.errors)
    if faults:
        raise Invalid(faults[0].detail, code=faults[0].code, errors=faults)


def _pointer(body: KeyBody, place: int) -> str:
    return "" if body.keys is None else f"/keys/{place}"


def _add(connection: Connection[Any], key: NewKey, now_ms: int, pointer: str) -> Any:
    """Store a key and return its row; one that is known just so already is left alone."""
    try:
        with connection.transaction():
            connection.execute(
                queries["control_add_key"],
                {
                    "sha256": key.sha256,
                    "id": f"key_{secrets.token_hex(8)}",
                    "kind": "customer" if key.customer else "service",
                    "customer": key.customer,
                    "scopes": list(key.scopes),
                    "customers": list(key.customers),
                    "features": list(key.features),
                    "label": key.label,
                    "now": instant(now_ms),
                },
            )
    except ForeignKeyViolation:
        detail = f"There is no customer {key.customer!r}."
        raise Invalid.at(f"{pointer}/customer", detail, "unknown_customer") from None
    row = connection.execute(
        queries["control_key_row_by_sha256"], {"sha256": key.sha256}
    ).fetchone()
    assert row is not None, "it was just added, or was there"
    if row[2] != key.customer or row[8] is not None:
        reason = "was revoked" if row[8] is not None else "belongs to something else"
        raise Conflict(
            f"The key with SHA-256 {key.sha256} {reason}; nothing was changed.",
            code="key_known",
            errors=[Fault(pointer=f"{pointer}/sha256", code="key_known", detail=reason)],
        )
    return row


def _plain(row: Any) -> dict[str, Any]:
    key_id, kind, customer, scopes, customers, features, label, created_at, revoked_at = row
    return {
        "id": key_id,
        "kind": kind,
        "customer": customer,
        "scopes": scopes,
        "customers": customers,
        "features": features,
        "label": label,
        "createdAt": format_instant(milliseconds(created_at)),
        "revokedAt": None if revoked_at is None else format_instant(milliseconds(revoked_at)),
    }


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/keys",
        endpoint=post_key,
        summary="Make an API key, shown once in `key`; or make issued keys known by their SHA-256",
        scope="admin",
        body=KeyBody,
        statuses=(201, 202),
    ),
    Operation(
        method="GET",
        path="/v1/keys",
        endpoint=list_keys,
        summary="API keys, the newest first",
        scope="admin",
        query={
            "customer": "only this customer's",
            "revoked": "true: revoked ones too",
            "limit": "rows, 1 to 1000",
            "after": "the cursor that an answer called next",
        },
    ),
    Operation(
        method="GET",
        path="/v1/keys/{id}",
        endpoint=get_key,
        summary="One API key",
        scope="admin",
    ),
    Operation(
        method="DELETE",
        path="/v1/keys/{id}",
        endpoint=delete_key,
        summary="Revoke an API key",
        scope="admin",
        statuses=(200, 202),
    ),
)
