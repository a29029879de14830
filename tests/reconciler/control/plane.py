"""A running control plane over real stores, with customers who decide by the real scripts."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg
import urllib3
import uvicorn
from psycopg_pool import ConnectionPool
from redis import Redis

from lua import keys
from reconciler.adoption import adopt
from reconciler.billing import read_entitlement
from reconciler.clock import Clock
from reconciler.control.app import make_control_app
from reconciler.copier import Copier
from reconciler.publisher import publish_all
from reconciler.server import server_of
from reconciler.settings import Settings
from tests.lua.calls import Calls, Reply

ADMIN_KEY = "test-admin-key"
START_TIMEOUT_S = 10
DAY_MS = 86_400_000

CATALOG = """\
currency: USD
features:
  api_calls: {name: API calls, unit: call}
  data: {name: Data, unit: GB, scale: 6}
  sso: {name: Single sign-on, type: boolean}
plans:
  free: {name: Free, features: {api_calls: {included: 100, reset: hour}}}
  pro:
    name: Pro
    price: 49
    features:
      api_calls:
        included: 10
        reset: month
        overage: charge
        price: {model: graduated, tiers: [{up_to: 100, unit: 0.01}, {unit: 0.005}]}
      data: {included: 1, overage: charge, price: {model: per_unit, unit: 0.25}}
      sso: true
  yearly: {extends: pro, price: 490, interval: year}
routes:
  - {match: "*", feature: api_calls}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer with its body read."""

    status: int
    headers: Any
    body: Any


@dataclass(kw_only=True)
class Plane:
    """The control plane at `url`, and what tests do with it."""

    url: str
    redis: Redis
    connection: psycopg.Connection[Any]
    calls: dict[str, Calls] = field(default_factory=dict)
    http: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(retries=False, timeout=30, maxsize=8)
    )

    def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = ADMIN_KEY, **more: str
    ) -> Answer:
        """One call; `body` is sent as JSON unless it is text."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        data = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
        if body is not None:
            headers["Content-Type"] = more.pop("content_type", "application/json")
        answer = self.http.request(method, self.url + path, body=data, headers={**headers, **more})
        text = answer.data.decode()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return Answer(
            status=answer.status,
            headers=answer.headers,
            body=json.loads(text) if text and is_json else text,
        )

    def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The body of a 200 or 201."""
        answer = self.ask(method, path, body, **more)
        assert answer.status in (200, 201), (answer.status, answer.body)
        return answer.body

    def push(self, catalog: str = CATALOG, existing: str = "renewal") -> Any:
        return self.ok(
            "PUT", f"/v1/catalog?existing={existing}", catalog, content_type="application/yaml"
        )

    def subscribe(self, customer: str, plan: str = "pro", **fields: Any) -> Any:
        """A customer on a plan of the live catalog."""
        self.ok("PUT", f"/v1/customers/{customer}", {"name": customer.title()})
        return self.ok("PUT", f"/v1/customers/{customer}/subscription", {"plan": plan, **fields})

    def consume(self, customer: str, quantity: int = 1, feature: str = "api_calls") -> Reply:
        """What the gateway does for a customer, on the entitlement in Redis."""
        if not self.calls:
            self.adopt()
        calls = self.calls.setdefault(customer, Calls(self.redis, customer))
        server = server_of(self.redis)
        calls.run_id, calls.replid = server.run_id, server.replid
        doc = self.redis.hget(keys.entitlement(customer), "doc")
        assert isinstance(doc, bytes), f"{customer} has no entitlement"
        calls.current = read_entitlement(doc)
        calls.at_ms = Clock(test_clock=True).now_ms(self.connection)
        return calls.consume(quantity, feature)

    def adopt(self) -> None:
        """What the reconciler does when it finds a Redis that it does not know."""
        clock = Clock(test_clock=True)
        adopt(
            self.connection,
            self.redis,
            publish=partial(publish_all, past_kept_ms=DAY_MS),
            offset_ms=clock.offset_ms(self.connection),
            now_ms=clock.now_ms(self.connection),
        )

    def copy(self) -> None:
        """Copy the log to the ledger."""
        copier = Copier(self.redis, batch_entries_max=1_000)
        copier.refresh(self.connection)
        while copier.copy(self.connection, now_ms=time.time_ns() // 1_000_000):
            pass

    def advance(self, span: str) -> str:
        """Move the test clock; returns the new time."""
        return str(self.ok("POST", "/v1/clock", {"advance": span})["now"])

    def run(self, **body: Any) -> Any:
        """Copy the log, then issue what is due."""
        self.adopt()
        self.copy()
        return self.ok("POST", "/v1/invoices/run", body)


@contextmanager
def running_plane(
    redis: Redis, connection: psycopg.Connection[Any], database_url: str, **settings: Any
) -> Iterator[Plane]:
    """A control plane on a free port of the loopback."""
    given = {"test_clock": True, "admin_key": ADMIN_KEY, "redis_url": "", **settings}
    with ConnectionPool(database_url, min_size=1, max_size=4, open=True) as pool:
        app = make_control_app(Settings(database_url=database_url, **given), pool, redis)
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield Plane(url=f"http://127.0.0.1:{port}", redis=redis, connection=connection)
        finally:
            server.should_exit = True
            thread.join(START_TIMEOUT_S)
