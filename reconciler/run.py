"""The reconciler's process: migrate, adopt, then the loop in a thread beside the control plane's HTTP."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import psycopg
import structlog
import uvicorn
from psycopg import Connection
from psycopg_pool import ConnectionPool
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.control.app import make_control_app
from reconciler.loop import Loop, retry_pause_ms
from reconciler.metrics import metrics_endpoint
from reconciler.migrate import migrate
from reconciler.prover import Prover
from reconciler.settings import Settings

log = structlog.get_logger(__name__)

START_TRIES_MAX = 20
"""How often Postgres is tried at start, with growing pauses: about a minute and a half."""
FIRST_ADOPTION_WAIT_S = 10
"""HTTP begins when the first adoption is done, or after so long without one."""
STOP_WAIT_S = 30
"""How long a stopping process waits for its batch to be finished."""
REDIS_TIMEOUT_S = 5
POSTGRES_CONNECT_S = 5


def run(settings: Settings, *, once: bool = False, http: bool = True) -> int:
    """Run until SIGTERM or SIGINT, or with `once` until the log is copied. Returns the exit code.

    Raises MigrationRefused, and psycopg.OperationalError when Postgres stays away.
    """
    _migrate(settings.database_url)
    redis = open_redis(settings.redis_url)
    loop = Loop(settings, redis, lambda: open_postgres(settings.database_url))
    try:
        if once:
            log.info("copied", entries=loop.once())
            return 0
        return _serve(settings, redis, loop, http=http)
    finally:
        redis.close()


def open_redis(url: str) -> "Redis":
    """A client that never retries by itself: what failed is done again from what Postgres says."""
    return Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
    )


def open_postgres(url: str) -> Connection[Any]:
    """A connection on which every transaction is opened by name."""
    return psycopg.connect(
        url, autocommit=True, connect_timeout=POSTGRES_CONNECT_S, application_name="tallygate"
    )


def _migrate(url: str) -> None:
    for failures in range(1, START_TRIES_MAX + 1):
        try:
            applied = migrate(url)
        except psycopg.OperationalError as error:
            if failures == START_TRIES_MAX:
                raise
            pause_ms = retry_pause_ms(failures)
            log.warning("postgres is away", error=str(error), retry_ms=pause_ms)
            time.sleep(pause_ms / 1000)
        else:
            if applied:
                log.info("migrated", migrations=applied)
            return


def _serve(settings: Settings, redis: "Redis", loop: Loop, *, http: bool) -> int:
    stop, failed = Event(), Event()
    prover = Prover(
        redis,
        lambda: open_postgres(settings.database_url),
        interval_ms=settings.verify_interval_ms,
    )
    with _signals(stop):
        workers = [
            _Worker("loop", lambda: loop.run(stop), stop, failed),
            _Worker("prover", lambda: prover.run(stop), stop, failed),
        ]
        for worker in workers:
            worker.start()
        try:
            if http:
                loop.adopted.wait(FIRST_ADOPTION_WAIT_S)
                _serve_http(settings, redis, stop)
            else:
                stop.wait()
        finally:
            stop.set()
            for worker in workers:
                worker.join(STOP_WAIT_S)
    log.info("stopped")
    return 1 if failed.is_set() else 0


class _Worker(Thread):
    """A thread whose end ends the process: half a reconciler must not look like a whole one."""

    def __init__(self, name: str, work: Any, stop: Event, failed: Event) -> None:
        super().__init__(name=name, daemon=True)
        self._work, self._stop_all, self._failed = work, stop, failed

    def run(self) -> None:
        try:
            self._work()
        except Exception:
            log.exception("a thread of the reconciler ended", thread=self.name)
            self._failed.set()
            self._stop_all.set()


def _serve_http(settings: Settings, redis: "Redis", stop: Event) -> None:
    with ConnectionPool(
        settings.database_url,
        min_size=1,
        max_size=settings.pool_size_max,
        open=True,
        kwargs={"autocommit": True, "connect_timeout": POSTGRES_CONNECT_S},
    ) as pool:
        app = WithMetrics(make_control_app(settings, pool, redis))
        config = uvicorn.Config(
            app, host=settings.host, port=settings.port, log_config=None, access_log=False
        )
        server = _Server(config)
        server.stop_all = stop
        server.run()


class _Server(uvicorn.Server):
    """uvicorn that also ends when something else in the process has."""

    stop_all: Event

    async def on_tick(self, counter: int) -> bool:
        return self.stop_all.is_set() or await super().on_tick(counter)


class WithMetrics:
    """The control plane, and GET /metrics beside it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/metrics":
            await metrics_endpoint(Request(scope, receive))(scope, receive, send)
            return
        await self._app(scope, receive, send)


@contextmanager
def _signals(stop: Event) -> Iterator[None]:
    """SIGTERM and SIGINT say stop; uvicorn, which sets its own, hands them on to these when it has ended."""
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
