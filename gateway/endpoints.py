"""The hot endpoints as plain ASGI: /v1/consume, /v1/check, /v1/track, and the balances."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import unquote

import msgspec
import structlog

from gateway import request_id
from gateway.auth import Authenticator, Caller, secret_of
from gateway.balances import Balances
from gateway.codec import (
    BATCH_MAX,
    FORMATS,
    ITEMS_MAX,
    JSON,
    MSGPACK,
    Batch,
    Body,
    Format,
    Item,
    check_customer,
    check_metadata,
    format_of,
    invalid,
    to_wire,
    wire_of_items,
)
from gateway.enforcer import Enforcer
from gateway.errors import (
    GatewayError,
    Invalid,
    Malformed,
    MethodNotAllowed,
    TooLarge,
    Unauthenticated,
    Unexpected,
    problem_members,
    send_problem,
)
from gateway.metrics import Metrics
from gateway.pricing.decision import Decision
from gateway.rendering import Rendered
from gateway.usage_request import UsageRequest, Verb

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

KEY_LENGTH_MAX = 255
SCOPES = {"consume": "consume", "check": "check", "track": "consume"}
"""The scope of a key that each verb needs."""

_JSON = FORMATS[JSON]

log = structlog.get_logger()


class _Headers:
    """The headers a decision looks at, found in one pass; `credentials` are those that name the caller."""

    __slots__ = ("accept", "content_type", "credentials", "idempotency_key")

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.content_type: bytes | None = None
        self.accept: bytes | None = None
        self.idempotency_key: str | None = None
        self.credentials: list[tuple[bytes, bytes]] = []
        for header in headers:
            name = header[0]
            if name == b"content-type":
                self.content_type = header[1]
            elif name == b"authorization" or name == b"x-api-key":
                self.credentials.append(header)
            elif name == b"accept":
                self.accept = header[1]
            elif name == b"idempotency-key":
                if self.idempotency_key is not None:
                    raise Malformed("The header Idempotency-Key came more than once.")
                self.idempotency_key = header[1].decode("latin-1")


class Endpoint:
    """What every endpoint shares: who calls, how errors are answered, that each answer names its request."""

    methods: tuple[str, ...] = ("POST",)

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises."""
        name = request_id.of(scope)
        try:
            if scope["method"] not in self.methods:
                allow = ", ".join(self.methods).encode()
                raise MethodNotAllowed(headers=[(b"allow", allow)])
            await self.answer(scope, receive, send, name)
        except GatewayError as error:
            await send_problem(send, error, name)
        except Exception:
            log.exception("unexpected", request_id=name)
            await send_problem(send, Unexpected(), name)

    async def answer(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        """Answer a request of the right method. Raises GatewayError."""
        raise NotImplementedError

    async def caller(self, headers: Sequence[tuple[bytes, bytes]]) -> Caller:
        """Who is calling. Raises Unauthenticated, Malformed, Outage."""
        secret = secret_of(headers)
        if secret is None:
            raise Unauthenticated
        return await self._authenticator.find(secret)


class Decide(Endpoint):
    """POST /v1/consume, /v1/check or /v1/track."""

    def __init__(
        self,
        verb: Verb,
        enforcer: Enforcer,
        authenticator: Authenticator,
        metrics: Metrics,
        *,
        body_bytes_max: int,
    ) -> None:
        super().__init__(authenticator)
        self._verb: Verb = verb
        self._scope = SCOPES[verb]
        self._enforcer = enforcer
        self._took = metrics.decision_observer(verb)
        self._body_bytes_max = body_bytes_max

    async def answer(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        """One decision, several, or a batch of them."""
        message = await receive()
        raw: bytes = message.get("body", b"")
        if message.get("more_body") or len(raw) > self._body_bytes_max:
            raw = await read_body(message, receive, self._body_bytes_max)
        started = time.perf_counter()
        headers = scope["headers"]
        found = _Headers(headers)
        caller = self._authenticator.lately(found.credentials) or await self.caller(headers)
        form = format_of(found.content_type)
        answered = _answer_format(found.accept, form)
        body = form.read(raw)
        replayed = False
        if isinstance(body, Batch):
            answer = answered.encode(await self._batch(body, form, caller, found, name))
        else:
            request = self._request(body, caller, found.idempotency_key, name)
            decided = await self._enforcer.answer(self._verb, request)
            if isinstance(decided, Rendered):
                answer = decided.body if answered is _JSON else _transcoded(decided, answered)
            else:
                answer = answered.encode(_wire_of(body, decided))
                replayed = decided[0].replayed
        self._took(time.perf_counter() - started)
        await send(answer_start(answered, answer, name, replayed=replayed))
        await send({"type": "http.response.body", "body": answer})

    def _request(
        self, body: Body, caller: Caller, header_key: str | None, name: str
    ) -> UsageRequest:
        """What is asked, by one who may ask it. Raises Forbidden, Invalid."""
        request = _usage_request(body, caller, header_key, name)
        for item in request.asked():
            caller.require(self._scope, request.customer, item.feature)
        return request

    async def _batch(
        self, batch: Batch, form: Format, caller: Caller, found: _Headers, name: str
    ) -> dict[str, Any]:
        if not 1 <= len(batch.batch) <= BATCH_MAX:
            raise invalid("/batch", f"A batch is 1 to {BATCH_MAX} requests.")
        if found.idempotency_key is not None:
            raise Invalid("In a batch each request has its own idempotencyKey.")

        async def one(raw: Any) -> dict[str, Any]:
            try:
                body = form.read_one(raw)
                request = self._request(body, caller, None, name)
                return _wire_of(body, await self._enforcer.decide(self._verb, request))
            except GatewayError as error:
                return problem_members(error, name)

        return {"batch": await asyncio.gather(*(one(raw) for raw in batch.batch))}


class BalancesEndpoint(Endpoint):
    """GET /v1/customers/{customer}/balances and …/balances/{feature}."""

    methods = ("GET", "HEAD")

    def __init__(self, balances: Balances, authenticator: Authenticator) -> None:
        super().__init__(authenticator)
        self._balances = balances

    async def answer(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        """The enforcing numbers, now."""
        caller = await self.caller(scope["headers"])
        # From the raw path, so that an id may hold %2F.
        path = scope.get("raw_path", scope["path"].encode()).partition(b"?")[0]
        parts = [unquote(part) for part in path.decode("latin-1").split("/")]
        customer = check_customer(parts[3], "")
        feature = parts[5] if len(parts) > 5 else None
        caller.require("read", customer, feature)
        wire = await self._balances.of(customer, feature)
        body = _JSON.encode(wire)
        await send(answer_start(_JSON, body, name))
        await send({"type": "http.response.body", "body": body})


async def read_body(message: MutableMapping[str, Any], receive: Receive, bytes_max: int) -> bytes:
    """The whole body, of which `message` is the first part.

    Raises TooLarge before more than `bytes_max` are held, Malformed on a disconnect.
    """
    chunks = [message.get("body", b"")]
    size = len(chunks[0])
    while message.get("more_body"):
        if size > bytes_max:
            raise TooLarge
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("The client went away.")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
    if size > bytes_max:
        raise TooLarge
    return b"".join(chunks)


def answer_start(form: Format, body: bytes, name: str, *, replayed: bool = False) -> Message:
    """The beginning of a 200 answer with a document."""
    headers = [
        (b"content-type", form.content_type),
        (b"content-length", b"%d" % len(body)),
        (b"x-tallygate-request-id", name.encode()),
    ]
    if replayed:
        headers.append((b"idempotent-replayed", b"true"))
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _wire_of(body: Body, decisions: Sequence[Decision]) -> dict[str, Any]:
    return to_wire(decisions[0]) if body.items is None else wire_of_items(decisions)


def _transcoded(rendered: Rendered, form: Format) -> bytes:
    """The usual answer in another format than the one it was written in."""
    body: bytes = form.encode(msgspec.json.decode(rendered.body))
    return body


def _answer_format(accept: bytes | None, asked: Format) -> Format:
    """What Accept names, else the format of the request."""
    if accept is None or accept == b"*/*":
        return asked
    if MSGPACK in accept:
        return FORMATS[MSGPACK]
    return FORMATS[JSON] if JSON in accept else asked


def _usage_request(body: Body, caller: Caller, header_key: str | None, name: str) -> UsageRequest:
    """The request to decide, checked for what no catalog need be asked. Raises Invalid."""
    customer = body.customer if body.customer is not None else caller.customer
    if customer is None:
        raise invalid("/customer", "Say which customer this is for.")
    if body.entity or body.at is not None:
        _refuse(body)
    if body.items is not None:
        _check_items(body, body.items)
    elif body.feature is None:
        raise invalid("/feature", "Say which feature, or give `items`.")
    key = body.idempotencyKey
    if key is not None or header_key is not None:
        key = _idempotency_key(key, header_key)
    return UsageRequest(
        customer=customer,
        feature=body.feature or "",
        quantity=body.quantity,
        variant=body.variant,
        usage=body.usage,
        items=body.items,
        idempotency_key=key,
        metadata=None if body.metadata is None else check_metadata(body.metadata),
        request_id=name,
        source=caller.id,
    )


def _refuse(body: Body) -> None:
    """Fields that stand in the contract and that this release cannot honour. Raises Invalid."""
    if body.entity:
        level = next(iter(body.entity))
        raise invalid(f"/entity/{level}", f"The catalog declares no entity {level!r}.")
    said = "`at` is not supported yet: usage is recorded at the time it arrives."
    raise invalid("/at", said, code="not_supported_yet")


def _check_items(body: Body, items: Sequence[Item]) -> None:
    for field in ("feature", "quantity", "variant", "usage"):
        if getattr(body, field) is not None:
            raise invalid(f"/{field}", f"With `items`, `{field}` belongs into each item.")
    if not 1 <= len(items) <= ITEMS_MAX:
        raise invalid("/items", f"A request is over 1 to {ITEMS_MAX} items.")


def _idempotency_key(in_body: str | None, in_header: str | None) -> str:
    if in_body is not None and in_header is not None and in_body != in_header:
        raise invalid("/idempotencyKey", "The header Idempotency-Key says another key.")
    key = in_body if in_body is not None else in_header or ""
    if not (1 <= len(key) <= KEY_LENGTH_MAX and key.isprintable()):
        raise invalid("/idempotencyKey", "An idempotency key is 1 to 255 printable characters.")
    return key
