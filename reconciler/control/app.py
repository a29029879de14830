"""The control plane as an ASGI application: which endpoint answers, who may call it, what goes wrong."""

import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import anyio
import msgspec
import psycopg
import redis
import structlog
from psycopg_pool import ConnectionPool, PoolTimeout
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.clock import Clock
from reconciler.control import (
    catalog,
    clock,
    customers,
    decisions,
    health,
    invoices,
    keys,
    openapi,
    reconciliation,
    refused,
    subscriptions,
    usage,
)
from reconciler.control.auth import ADMIN, NOBODY, Caller, find_caller, is_admin, secret_of
from reconciler.control.call import Answer, Call, Operation, Parts
from reconciler.control.chores import do_chores
from reconciler.control.errors import (
    ControlError,
    Malformed,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    Unavailable,
    Unexpected,
)
from reconciler.settings import Settings

BODY_BYTES_MAX = 8 * 1_048_576
CHORES_EVERY_S = 1

log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder(decimal_format="string").encode

OPERATIONS: tuple[Operation, ...] = (
    *catalog.OPERATIONS,
    *customers.OPERATIONS,
    *subscriptions.OPERATIONS,
    *keys.OPERATIONS,
    *usage.OPERATIONS,
    *decisions.OPERATIONS,
    *invoices.OPERATIONS,
    *reconciliation.OPERATIONS,
    *clock.OPERATIONS,
    *refused.OPERATIONS,
    *health.OPERATIONS,
    *openapi.OPERATIONS,
)


def make_control_app(
    settings: Settings, pool: ConnectionPool[Any], redis: "redis.Redis"
) -> "EncodedPath":
    """The control plane over open stores; closing them stays with the caller."""
    parts = Parts(
        settings=settings, pool=pool, redis=redis, clock=Clock(test_clock=settings.test_clock)
    )
    openapi.describe(OPERATIONS)
    by_path: dict[str, dict[str, Operation]] = defaultdict(dict)
    for operation in OPERATIONS:
        by_path[operation.path][operation.method] = operation
    app = Starlette(
        routes=[Route(path, Resource(parts, known)) for path, known in by_path.items()],
        exception_handlers={404: _nothing_here},
        lifespan=_with_chores(parts),
    )
    app.router.redirect_slashes = False
    return EncodedPath(app)


class EncodedPath:
    """Routes by the path as it was sent, so that `%2F` in a customer id is not a separator."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("raw_path"):
            raw = scope["raw_path"].partition(b"?")[0]
            scope = {**scope, "path": raw.decode("latin-1")}
        await self.app(scope, receive, send)


class Resource:
    """One path: reads the request, finds the caller, runs the endpoint in a thread, answers."""

    def __init__(self, parts: Parts, operations: Mapping[str, Operation]) -> None:
        self._parts = parts
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        request_id = secrets.token_hex(16)
        try:
            body = await _read_body(request)
            answer = await run_in_threadpool(self._answer, request, body, request_id)
        except ControlError as error:
            answer = problem_answer(error, request_id)
        await _response(answer, request_id)(scope, receive, send)

    def _answer(self, request: Request, body: bytes, request_id: str) -> Answer:
        try:
            operation = self._operation(request.method)
            caller = self._caller(request, operation)
            call = _call(request, body, caller, request_id)
            customer = call.customer if "customer" in call.path else None
            caller.require(operation.scope, customer)
            return operation.endpoint(self._parts, call)
        except ControlError as error:
            return problem_answer(error, request_id)
        except (psycopg.OperationalError, PoolTimeout) as error:
            log.warning("postgres did not answer", error=str(error))
            return problem_answer(Unavailable("Postgres does not answer."), request_id)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            log.warning("redis did not answer", error=str(error))
            return problem_answer(Unavailable("Redis does not answer."), request_id)
        except Exception:
            log.exception("an endpoint failed", request_id=request_id)
            return problem_answer(Unexpected(), request_id)

    def _operation(self, method: str) -> Operation:
        operation = self._operations.get("GET" if method == "HEAD" else method)
        if operation is None:
            known = ", ".join(sorted(self._operations))
            raise MethodNotAllowed(f"This path answers to {known}, not {method}.")
        return operation

    def _caller(self, request: Request, operation: Operation) -> Caller:
        if operation.scope == "public":
            return NOBODY
        secret = secret_of(request.headers.raw)
        if is_admin(secret, self._parts.settings.admin_key):
            return ADMIN
        with self._parts.postgres() as connection:
            return find_caller(connection, secret)


def problem_answer(error: ControlError, request_id: str) -> Answer:
    """The answer that says what went wrong."""
    return Answer(
        body=error.to_problem(request_id),
        status=error.status,
        media_type="application/problem+json",
        headers=error.headers,
    )


def _call(request: Request, body: bytes, caller: Caller, request_id: str) -> Call:
    try:
        query = parse_qsl(
            request.scope["query_string"].decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=100,
        )
    except (UnicodeDecodeError, ValueError):
        raise Malformed("The query is not percent-encoded UTF-8.") from None
    return Call(
        method=request.method,
        path=request.path_params,
        query=query,
        content_type=request.headers.get("content-type", "").partition(";")[0].strip().lower(),
        body=body,
        caller=caller,
        request_id=request_id,
    )


async def _read_body(request: Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > BODY_BYTES_MAX:
            raise TooLarge(f"The body is larger than {BODY_BYTES_MAX} bytes.")
        pieces.append(piece)
    return b"".join(pieces)


def _response(answer: Answer, request_id: str) -> Response:
    body = answer.body if isinstance(answer.body, bytes) else _encode(answer.body)
    headers = {**answer.headers, "X-Tallygate-Request-Id": request_id}
    if answer.status == 204:
        return Response(status_code=204, headers=headers)
    return Response(body, answer.status, headers, answer.media_type)


async def _nothing_here(request: Request, error: Exception) -> Response:
    request_id = secrets.token_hex(16)
    return _response(problem_answer(NotFound(), request_id), request_id)


def _with_chores(parts: Parts) -> Callable[[Starlette], Any]:
    """A lifespan that finishes what earlier requests had to leave, until the server stops."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async def keep_doing() -> None:
            while True:
                await run_in_threadpool(do_chores, parts)
                await anyio.sleep(CHORES_EVERY_S)

        async with anyio.create_task_group() as group:
            group.start_soon(keep_doing)
            yield
            group.cancel_scope.cancel()

    return lifespan
