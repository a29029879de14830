"""What the tests of the data plane share: a connection, and a whole gateway on a real Valkey."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote

import msgpack
import pytest
import pytest_asyncio
import redis

from gateway.app import Gateway, make_app
from gateway.connection import Connection
from gateway.pricing.catalog import load_catalog
from gateway.pricing.subscription import Subscription, entitle
from gateway.settings import Settings
from lua import keys, load

ADMIN_KEY = "admin-secret"
DAY_MS = 86_400_000

CATALOG = {
    "currency": "USD",
    "features": {
        "api_calls": {"name": "API calls", "unit": "call"},
        "storage": {"name": "Storage", "unit": "GB", "scale": "6"},
        "sso": {"name": "Single sign-on", "type": "boolean"},
    },
    "plans": {
        "small": {
            "name": "Small",
            "features": {
                "api_calls": {
                    "included": "10",
                    "reset": "day",
                    "limits": [{"max": "5", "every": "hour"}, {"max": "50", "every": "month"}],
                },
                "storage": {"included": "2.5", "reset": "month"},
                "sso": True,
            },
        },
        "metered": {
            "name": "Metered",
            "features": {
                "api_calls": {
                    "included": "1",
                    "overage": "charge",
                    "price": {"model": "per_unit", "unit": "0.5"},
                }
            },
        },
    },
    "routes": [
        {"match": "GET /healthz", "free": True},
        {"match": "POST /v1/search", "feature": "api_calls", "cost": "3"},
        {"match": "PUT /files/*", "feature": "storage", "cost": "1.25"},
        {"match": "/login", "feature": "sso"},
        {"match": "*", "feature": "api_calls"},
    ],
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one request was answered."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.fields)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(kw_only=True)
class World:
    """A Redis with a live catalog, customers and keys, and the application over it."""

    redis: redis.Redis
    url: str
    app: Gateway
    catalog: Any = field(default_factory=lambda: load_catalog(CATALOG))
    version: int = 0

    def put_catalog(self) -> None:
        """Make the catalog live."""
        plain = json.dumps(self.catalog.to_plain())
        fields = {"version": 1, "sha256": self.catalog.sha256, "doc": plain}
        self.redis.hset(keys.CATALOG, mapping=fields)

    def adopt(self, bucket: int) -> None:
        """Do for one bucket what the reconciler does."""
        info = self.redis.info()
        self.run(
            "adopt",
            meta=keys.meta(bucket),
            log=keys.log(bucket),
            run_id=info["run_id"],
            replid=info["master_replid"],
            epoch=1,
            buckets=keys.BUCKETS,
            ledger_epoch=0,
            ledger_seq=0,
            offset_ms=0,
        )

    def customer(self, name: str, plan: str = "small", **subscription: Any) -> str:
        """A customer on a plan since a while ago."""
        self.adopt(keys.bucket_of(name))
        starts_ms = time.time_ns() // 1_000_000 - DAY_MS
        self.version += 1
        entitlement = entitle(
            Subscription(
                customer=name,
                plan=plan,
                catalog=self.catalog,
                catalog_version=1,
                starts_ms=starts_ms,
                anchor_ms=starts_ms,
                **subscription,
            ),
            version=self.version,
        )
        self.run(
            "entitle",
            entitlement=keys.entitlement(name),
            past=keys.past_entitlements(name),
            version=self.version,
            doc=msgpack.packb(entitlement.to_plain()),
            keep_ms=DAY_MS,
        )
        return name

    def key(self, secret: str, **fields: str) -> str:
        """An API key; a customer key when `customer` is given."""
        kind = "customer" if "customer" in fields else "service"
        mapping = {"id": f"k_{secret}", "kind": kind, **fields}
        self.redis.hset(keys.api_key(sha256(secret.encode()).hexdigest()), mapping=mapping)
        return secret

    def used(self, customer: str, feature: str = "api_calls") -> int:
        """What the counter of the billing period says."""
        found = self.redis.hget(keys.usage(customer, feature), "period:used")
        return int(found or 0)

    def run(self, name: str, **operands: Any) -> Any:
        """Run one of the scripts that the reconciler runs."""
        script = load(name)
        names, arguments = script.bind(**operands)
        return self.redis.eval(script.source, len(names), *names, *arguments)

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: list[tuple[str, str]] | None = None,
    ) -> Answer:
        """One request to the application, as a server would hand it over."""
        sent = [("host", "gateway.test"), *(headers or [])]
        if key is not None:
            sent.append(("authorization", f"Bearer {key}"))
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        return await ask(self.app, method, target, raw, sent)


async def ask(
    app: Any, method: str, target: str, body: bytes, headers: list[tuple[str, str]]
) -> Answer:
    """One HTTP request to an ASGI application."""
    path, _, query = target.partition("?")
    messages: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    await app(scope, receive, send)
    start = messages[0]
    return Answer(
        status=start["status"],
        fields=[(name.decode(), value.decode()) for name, value in start["headers"]],
        body=b"".join(message.get("body", b"") for message in messages[1:]),
    )


def settings_for(url: str, **changes: Any) -> Settings:
    """Settings of a gateway under test: patient, because the machine may be busy."""
    values: dict[str, Any] = {
        "redis_url": url,
        "admin_key": ADMIN_KEY,
        "deadline_ms": 2_000,
        "accept_loss": frozenset({"persistence"}),
        "retry_after_max_s": 1_200,
    }
    return Settings(**{**values, **changes})


@pytest_asyncio.fixture
async def connection(redis_client, valkey_url: str) -> AsyncIterator[Connection]:
    """The gateway's own connection to an empty Valkey."""
    connection = Connection(valkey_url, deadline_ms=2_000)
    await connection.open()
    yield connection
    await connection.close()


@pytest.fixture
def settings(valkey_url: str) -> Settings:
    """Override in a test module to change them."""
    return settings_for(valkey_url)


@pytest_asyncio.fixture
async def world(redis_client, valkey_url: str, settings: Settings) -> AsyncIterator[World]:
    """A running gateway with the catalog above and no customers."""
    world = World(redis=redis_client, url=valkey_url, app=make_app(settings))
    world.put_catalog()
    world.adopt(0)
    async with world.app.router.lifespan_context(world.app):
        await world.app.parts.catalogs.reload()
        yield world


def path_of(customer: str) -> str:
    """A customer's path on the data plane."""
    return f"/v1/customers/{quote(customer, safe='')}"
