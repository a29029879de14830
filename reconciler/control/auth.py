"""Who is calling the control plane, and whether that key may."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from psycopg import Connection

from reconciler.control.errors import Forbidden, Malformed, Unauthenticated
from reconciler.sql import queries

SECRET_BYTES_MAX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who holds the key that came with a request, and what it may do here."""

    id: str
    scopes: frozenset[str]
    customers: frozenset[str] = frozenset()
    """The customers the key is bound to; empty: any."""

    def require(self, scope: str, customer: str | None) -> None:
        """Raise Forbidden unless this caller may do `scope`, to that customer where one is named."""
        if scope != "public" and not self.scopes & {scope, "admin"}:
            raise Forbidden(f"This API key does not have the scope {scope!r}.", code="scope")
        if self.customers and customer not in self.customers:
            raise Forbidden(
                "This API key is bound to customers, and may only read theirs.",
                code="customer_scope",
            )


ADMIN = Caller(id="admin", scopes=frozenset({"admin", "read"}))
NOBODY = Caller(id="", scopes=frozenset())
"""Who reads what anyone may read."""


def secret_of(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The secret in `Authorization: Bearer` or `X-API-Key`. Raises Unauthenticated, Malformed."""
    found: list[bytes] = []
    for name, value in headers:
        if name == b"authorization":
            kind, _, secret = value.partition(b" ")
            if kind.lower() != b"bearer":
                raise Unauthenticated("Authorization must be of the form: Bearer KEY.")
            found.append(secret.strip())
        elif name == b"x-api-key":
            found.append(value.strip())
    if not found:
        raise Unauthenticated
    if len(set(found)) > 1 or len(found) > 2:
        raise Malformed("Authorization and X-API-Key carry different keys; send one.")
    if len(found[0]) > SECRET_BYTES_MAX:
        raise Unauthenticated
    return found[0]


def is_admin(secret: bytes, admin_key: str | None) -> bool:
    """Whether this is the key of the settings; compared as digests, so that timing says nothing."""
    if not admin_key:
        return False
    given, known = sha256(secret).digest(), sha256(admin_key.encode()).digest()
    return hmac.compare_digest(given, known)


def find_caller(connection: Connection[Any], secret: bytes) -> Caller:
    """The caller of a key that is not the admin key. Raises Unauthenticated, Forbidden."""
    digest = sha256(secret).hexdigest()
    row = connection.execute(queries["control_key_by_sha256"], {"sha256": digest}).fetchone()
    if row is None:
        raise Unauthenticated("This API key is unknown or was revoked.")
    key_id, kind, scopes, customers = row
    if kind == "customer":
        raise Forbidden("A customer's API key has no place on the control plane.", code="scope")
    return Caller(id=key_id, scopes=frozenset(scopes), customers=frozenset(customers))
