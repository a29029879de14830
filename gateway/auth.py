"""Who is calling: API keys, found by the SHA-256 of their secret, and what each may do."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal
from urllib.parse import unquote

import hiredis

from gateway.connection import Connection
from gateway.errors import Forbidden, GatewayError, Malformed, Outage, Unauthenticated
from lua import keys

SECRET_BYTES_MAX = 512
KNOWN_MAX = 10_000
"""API keys remembered as good by one process; the least recently used is forgotten first."""
KNOWN_SECONDS = 30
"""How long a good key is believed; a revocation whose push was lost works within this."""
LATELY_MAX = 1_000
LATELY_SECONDS = 1
UNKNOWN_MAX = 10_000
UNKNOWN_SECONDS = 1

FIELDS = ("id", "kind", "customer", "scopes", "customers", "features")
"""Fields of the hash `keys.api_key`; the last three are lists joined with spaces, percent-encoded."""

SCOPES = frozenset({"check", "consume", "hold", "reverse", "read", "enroll"})
"""What a service key can be given."""

PAY = "pay"
"""What only a customer key may do: have a request in front of an API charged to its customer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who holds the key that came with a request, and what it may do."""

    id: str
    kind: Literal["admin", "service", "customer"]
    customer: str | None = None
    """The one customer a customer key stands for."""
    scopes: frozenset[str] = frozenset()
    customers: frozenset[str] | None = None
    """The customers a service key is bound to; None: any."""
    features: frozenset[str] | None = None
    """The features a key is bound to; None: any."""

    def require(self, scope: str, customer: str | None = None, feature: str | None = None) -> None:
        """Raise Forbidden unless this caller may do `scope` to that customer and feature."""
        if scope not in self.scopes:
            raise Forbidden(self._refusal(scope), code="scope")
        if customer is not None and self.customers is not None and customer not in self.customers:
            raise Forbidden("This API key may not act for that customer.", code="customer_scope")
        if feature is not None and self.features is not None and feature not in self.features:
            raise Forbidden("This API key may not use that feature.", code="feature_scope")

    def _refusal(self, scope: str) -> str:
        if scope == PAY:
            return "Only a customer's own API key pays for a request; this is a service key."
        if self.kind == "customer":
            return f"A customer's API key may check and read, but not {scope}; use a service key."
        return f"This API key does not have the scope {scope!r}."


ADMIN = Caller(id="admin", kind="admin", scopes=SCOPES | {"admin"})


def secret_of(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The secret in `Authorization: Bearer` or `X-API-Key`; None when there is neither.

    Raises Malformed when a header comes twice or the two disagree: whoever reads only one of them
    (a proxy, a log) must not be told another story than we are.
    """
    bearer = api_key = None
    for name, value in headers:
        if name == b"authorization":
            if bearer is not None:
                raise Malformed("The header Authorization came more than once.")
            bearer = value
        elif name == b"x-api-key":
            if api_key is not None:
                raise Malformed("The header X-API-Key came more than once.")
            api_key = value
    if bearer is not None:
        if bearer[:7].lower() == b"bearer ":
            secret = bearer[7:].strip()
            if api_key is not None and api_key != secret:
                raise Malformed("Authorization and X-API-Key carry different keys; send one.")
            return secret
        if api_key is None:
            raise Unauthenticated("Authorization must be of the form: Bearer KEY.")
    return api_key


class Authenticator:
    """Finds the caller of a secret: from memory in about a microsecond, else from Redis."""

    def __init__(
        self, redis: Connection, admin_key: str = "", clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._clock_s = clock_s
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._lately: dict[tuple[bytes, bytes], tuple[Caller, float]] = {}
        """Callers by the header that named them, which spares reading it; dropped whole with any change."""
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Caller | None]] = {}
        self._forgotten = 0
        self._admin = sha256(admin_key.encode()).digest() if admin_key else None
        """Compared as a digest, so that timing says nothing of the secret."""

    def cached(self, secret: bytes) -> Caller | None:
        """The caller if it is remembered. Raises Unauthenticated if the secret is known to be bad."""
        digest = sha256(secret).digest()
        if digest == self._admin:
            return ADMIN
        found = self._known.get(digest)
        if found is not None and found[1] > self._clock_s():
            self._known.move_to_end(digest)
            return found[0]
        if self._unknown.get(digest, 0) > self._clock_s():
            raise Unauthenticated
        return None

    def lately(self, credentials: Sequence[tuple[bytes, bytes]]) -> Caller | None:
        """The caller of a request with just this one header, if the same header came lately."""
        if len(credentials) != 1:
            return None
        found = self._lately.get(credentials[0])
        if found is not None and found[1] > self._clock_s():
            return found[0]
        try:
            caller = self.cached(secret_of(credentials) or b"")
        except GatewayError:
            return None
        if caller is not None:
            if len(self._lately) >= LATELY_MAX:
                self._lately.clear()
            self._lately[credentials[0]] = (caller, self._clock_s() + LATELY_SECONDS)
        return caller

    async def find(self, secret: bytes) -> Caller:
        """The caller of a secret. Raises Unauthenticated, Outage or Overloaded."""
        if not 0 < len(secret) <= SECRET_BYTES_MAX:
            raise Unauthenticated
        caller = self.cached(secret)
        if caller is None:
            digest = sha256(secret).digest()
            # Many requests with one new key ask once; one that is cancelled takes no other with it.
            asking = self._asking.get(digest)
            if asking is None:
                asking = asyncio.ensure_future(self._ask(digest))
                self._asking[digest] = asking
                asking.add_done_callback(lambda _: self._asking.pop(digest, None))
            caller = await asyncio.shield(asking)
        if caller is None:
            raise Unauthenticated
        return caller

    def forget(self, sha256_hex: str) -> None:
        """Believe no more what was remembered of one key."""
        try:
            digest = bytes.fromhex(sha256_hex)
        except ValueError:
            return
        self._forgotten += 1
        self._lately.clear()
        self._known.pop(digest, None)
        self._unknown.pop(digest, None)

    def forget_all(self) -> None:
        """Believe no more anything remembered: pushes may have been missed."""
        self._forgotten += 1
        self._lately.clear()
        self._known.clear()
        self._unknown.clear()

    async def _ask(self, digest: bytes) -> Caller | None:
        forgotten = self._forgotten
        try:
            reply = await self._redis.execute("HMGET", keys.api_key(digest.hex()), *FIELDS)
        except hiredis.ReplyError as error:
            raise Outage(f"The API key could not be looked up: Redis answered {error}.") from error
        caller = _caller([value and value.decode() for value in reply])
        # A revocation that arrived while we asked may be newer than the answer: do not keep that.
        if forgotten == self._forgotten:
            self._remember(digest, caller)
        return caller

    def _remember(self, digest: bytes, caller: Caller | None) -> None:
        if caller is None:
            self._unknown[digest] = self._clock_s() + UNKNOWN_SECONDS
            self._unknown.move_to_end(digest)
            if len(self._unknown) > UNKNOWN_MAX:
                self._unknown.popitem(last=False)
            return
        self._known[digest] = (caller, self._clock_s() + KNOWN_SECONDS)
        self._known.move_to_end(digest)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)


def _caller(fields: list[str | None]) -> Caller | None:
    """The caller a key's hash describes; None for no hash, or one this release cannot read."""
    key_id, kind, customer, scopes, customers, features = fields
    if not key_id:
        return None
    if kind == "customer" and customer:
        return Caller(
            id=key_id,
            kind="customer",
            customer=customer,
            scopes=frozenset({"check", "read", PAY}),
            customers=frozenset({customer}),
            features=_names(features),
        )
    if kind == "service":
        named = frozenset((scopes or "").split())
        return Caller(
            id=key_id,
            kind="service",
            scopes=(SCOPES | {"admin"}) if "admin" in named else named & SCOPES,
            customers=_names(customers),
            features=_names(features),
        )
    return None


def _names(joined: str | None) -> frozenset[str] | None:
    """A bound set of names; nothing there binds nothing."""
    return frozenset(unquote(name) for name in joined.split()) if joined else None
