"""The composition root: builds the parts of the data plane, lists the routes, opens and closes."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import request_id
from gateway.auth import Authenticator
from gateway.authz import Gate
from gateway.balances import Balances
from gateway.catalogs import Catalogs
from gateway.changes import Changes
from gateway.connection import Connection
from gateway.counters import Counters
from gateway.denials import Denials
from gateway.endpoints import BalancesEndpoint, Decide
from gateway.enforcer import Enforcer
from gateway.entitlements import Entitlements
from gateway.errors import (
    GatewayError,
    MethodNotAllowed,
    NotFound,
    NotSupportedYet,
    Unexpected,
    problem,
)
from gateway.health import Health
from gateway.metrics import Metrics
from gateway.openapi import document, page
from gateway.scripts import Scripts
from gateway.settings import Settings

GC_OBJECTS = 20_000
"""New objects after which Python looks for cycles; requests make none, so rarely is enough."""

FLUSH_SECONDS = 1
"""How often a worker leaves its counts for the others."""

log = structlog.get_logger()


class Parts:
    """Everything a running gateway is made of, wired once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        directory = settings.metrics_directory
        self.metrics = Metrics(Path(directory) if directory else None)
        self.connection = Connection(settings.redis_url, deadline_ms=settings.deadline_ms)
        self.authenticator = Authenticator(self.connection, settings.admin_key)
        self.entitlements = Entitlements(self.connection)
        self.catalogs = Catalogs(self.connection, self.metrics)
        self.health = Health(self.connection, settings)
        self.denials = Denials(self.connection)
        self.scripts = Scripts(self.connection, self.metrics, fence=settings.fence)
        self.enforcer = Enforcer(
            self.scripts,
            Counters(self.scripts),
            self.entitlements,
            self.denials,
            self.metrics,
            knows_feature=self.catalogs.knows_feature,
            idempotency_retention_ms=settings.idempotency_retention_ms,
            in_flight_max=settings.in_flight_max,
        )
        self.changes = Changes(
            settings.redis_url,
            customer=self.entitlements.forget,
            key=self.authenticator.forget,
            catalog=self.catalogs.changed,
            gap=self._forget_all,
        )

    def _forget_all(self) -> None:
        self.entitlements.forget_all()
        self.authenticator.forget_all()
        self.catalogs.changed()


class Gateway(Starlette):
    """The application: plain ASGI where requests are decided, Starlette for everything else.

    The endpoints that decide are found by one look into a dict, before Starlette's middleware and
    router, which would add 15 µs to each decision.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__(
            routes=_cold_routes(parts),
            exception_handlers={
                GatewayError: _answer_error,
                HTTPException: _answer_http_exception,
                Exception: _answer_bug,
            },
            lifespan=lambda _: _running(parts),
        )
        self.router.redirect_slashes = False
        self.parts = parts
        self._hot = _hot_endpoints(parts)
        self._balances = BalancesEndpoint(
            Balances(parts.connection, parts.entitlements), parts.authenticator
        )
        self._gate = Gate(parts.authenticator, parts.catalogs, parts.enforcer, parts.settings)

    def __call__(  # type: ignore[override]  # a coroutine less for each request
        self, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Answer one request, whatever it is; every answer names it."""
        if scope["type"] != "http":
            return super().__call__(scope, receive, send)
        path: str = scope["path"]
        endpoint = self._hot.get(path)
        if endpoint is None and path.startswith("/authz/"):
            endpoint = self._gate
        if endpoint is None and path.startswith("/v1/customers/") and _is_balances(scope):
            endpoint = self._balances
        if endpoint is not None:
            return endpoint(scope, receive, send)
        return super().__call__(scope, receive, _naming(send, request_id.of(scope)))


def make_app(settings: Settings) -> Gateway:
    """The gateway for these settings; nothing is opened before its lifespan begins."""
    return Gateway(Parts(settings))


def create() -> Gateway:
    """The gateway as the environment sets it; what each worker process calls."""
    return make_app(Settings.read(os.environ))


def _hot_endpoints(parts: Parts) -> Mapping[str, ASGIApp]:
    def decide(verb: Any) -> Decide:
        return Decide(
            verb,
            parts.enforcer,
            parts.authenticator,
            parts.metrics,
            body_bytes_max=parts.settings.body_bytes_max,
        )

    return {
        "/v1/consume": decide("consume"),
        "/v1/check": decide("check"),
        "/v1/track": decide("track"),
    }


def _is_balances(scope: Scope) -> bool:
    """Whether the path is …/{customer}/balances or …/{customer}/balances/{feature}.

    From the raw path, in which the slash of an id is still %2F.
    """
    segments = scope.get("raw_path", scope["path"].encode()).partition(b"?")[0].split(b"/")
    return len(segments) in (5, 6) and segments[4] == b"balances"


def _cold_routes(parts: Parts) -> list[Route]:
    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "alive", "gateway": parts.settings.gateway_id})

    async def readyz(request: Request) -> Response:
        checks = await parts.health.require_ready()
        found = [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]
        return JSONResponse({"status": "ready", "checks": found})

    async def metrics(request: Request) -> Response:
        text, content_type = parts.metrics.scrape(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    async def openapi(request: Request) -> Response:
        return JSONResponse(document())

    async def docs(request: Request) -> Response:
        return HTMLResponse(page())

    async def later(request: Request) -> Response:
        raise NotSupportedYet("Holds and reversals are not supported yet.")

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi),
        Route("/docs", docs),
        Route("/v1/holds", later, methods=["POST"]),
        Route("/v1/holds/{id}/{verb}", later, methods=["POST"]),
        Route("/v1/decisions/{id}/reverse", later, methods=["POST"]),
    ]


@asynccontextmanager
async def _running(parts: Parts) -> AsyncIterator[None]:
    """Open, keep up to date while running, and close."""
    await parts.connection.open()
    # What has been loaded so far stays; looking through it again and again costs a tenth of a request.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_OBJECTS, *gc.get_threshold()[1:])
    _say_what_is_set(parts.settings)
    tasks = [
        asyncio.create_task(parts.changes.run(), name="changes"),
        asyncio.create_task(parts.catalogs.run(), name="catalogs"),
        asyncio.create_task(_flush(parts.metrics), name="metrics"),
        asyncio.create_task(parts.denials.run(), name="denials"),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        parts.metrics.flush()
        with suppress(GatewayError):
            await parts.denials.ship()
        await parts.connection.close()


async def _flush(metrics: Metrics) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        try:
            metrics.flush()
        except OSError as error:
            log.warning("metrics_not_flushed", error=str(error))


def _say_what_is_set(settings: Settings) -> None:
    if settings.on_outage == "bounded":
        log.info("on_outage", setting="bounded", means="closed: there is no local allowance yet")
    if settings.test_clock:
        log.warning("test_clock", means="time may be moved ahead; never in production")
    if settings.accept_loss:
        log.warning("accept_loss", of=sorted(settings.accept_loss))


def _naming(send: Send, name: str) -> Send:
    """Puts the request's id on an answer that did not bring it along."""
    header = (b"x-tallygate-request-id", name.encode())

    async def named(message: Message) -> None:
        if message["type"] == "http.response.start" and header not in message["headers"]:
            message["headers"] = [*message["headers"], header]
        await send(message)

    return named


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError), "registered for nothing else"
    response = Response(
        problem(error, request_id.of(request.scope)),
        status_code=error.status,
        media_type="application/problem+json",
    )
    response.raw_headers.extend(error.headers)
    return response


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for nothing else"
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "").encode("latin-1")
        return await _answer_error(request, MethodNotAllowed(headers=[(b"allow", allow)]))
    if error.status_code == 404:
        return await _answer_error(request, NotFound())
    return await _answer_error(request, Unexpected(str(error.detail)))


async def _answer_bug(request: Request, error: Exception) -> Response:
    log.error("unexpected", request_id=request_id.of(request.scope), exc_info=error)
    return await _answer_error(request, Unexpected())
