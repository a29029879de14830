"""A whole running Tallygate for tests: embedded stores, a reconciler and a gateway, as real processes."""

import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3

from deploy.children import Child, start_child
from deploy.stores import Server, start_postgres, start_valkey

READY_TIMEOUT_S = 60
LEDGER_TIMEOUT_S = 60
POLL_S = 0.05
DEADLINE_MS = "5000"
"""A machine that runs many tests at once may be late; what is tested here is never the deadline."""
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer with its JSON body, if it had one."""

    status: int
    headers: Mapping[str, str]
    body: Any

    def ok(self) -> Any:
        """The body of a 2xx answer."""
        assert 200 <= self.status < 300, f"{self.status}: {self.body}"
        return self.body


@dataclass(slots=True, kw_only=True)
class Installation:
    """What tests need to know of a running Tallygate, and the few things they all do with it."""

    directory: Path
    redis_url: str
    database_url: str
    gateway_url: str
    control_url: str
    admin_key: str
    environment: dict[str, str]
    children: dict[str, Child] = field(default_factory=dict)
    pool: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(retries=False, timeout=30, maxsize=64)
    )

    def ask(
        self,
        url: str,
        method: str,
        path: str,
        body: Any = None,
        key: str | None = None,
        **headers: str,
    ) -> Answer:
        """One HTTP call; `body` is sent as JSON, text as it is."""
        sent = {"Authorization": f"Bearer {key or self.admin_key}", **headers}
        data = body
        if body is not None and not isinstance(body, str | bytes):
            data = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        answer = self.pool.request(method, url + path, body=data, headers=sent)
        text = answer.data.decode()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return Answer(
            status=answer.status,
            headers=answer.headers,
            body=json.loads(text) if text and is_json else text,
        )

    def control(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """A control-plane call that must succeed."""
        return self.ask(self.control_url, method, path, body, **headers).ok()

    def gateway(self, method: str, path: str, body: Any = None, key: str | None = None) -> Answer:
        """A data-plane call."""
        return self.ask(self.gateway_url, method, path, body, key)

    def push(self, catalog: str) -> int:
        """Publish a catalog written in YAML; its version."""
        headers = {"Content-Type": "application/yaml"}
        return int(self.control("PUT", "/v1/catalog", catalog, **headers)["version"])

    def customer(self, name: str, plan: str, *, zone: str = "UTC", **subscription: Any) -> str:
        """A customer with a subscription; its id."""
        path = f"/v1/customers/{quote(name, safe='')}"
        self.control("PUT", path, {"timeZone": zone})
        self.control("PUT", f"{path}/subscription", {"plan": plan, **subscription})
        return name

    def customer_key(self, customer: str) -> str:
        """A new key with which the customer itself pays."""
        return str(self.control("POST", "/v1/keys", {"customer": customer})["key"])

    def consume(self, customer: str, feature: str, quantity: int | str = 1, **more: Any) -> Any:
        """The decision on one request."""
        body = {"customer": customer, "feature": feature, "quantity": quantity, **more}
        return self.gateway("POST", "/v1/consume", body).ok()

    def balance(self, customer: str, feature: str) -> Any:
        """What the enforcing numbers are now."""
        path = f"/v1/customers/{quote(customer, safe='')}/balances/{feature}"
        return self.gateway("GET", path).ok()

    def upcoming(self, customer: str) -> Any:
        """The invoice of the running period."""
        return self.control("GET", f"/v1/customers/{quote(customer, safe='')}/invoices/upcoming")

    def start_gateway(self, workers: int) -> None:
        """Start the gateway process and wait until it is ready."""
        command = [sys.executable, "-m", "gateway", "--workers", str(workers)]
        self.start("gateway", command)
        self.wait_ready("gateway", self.gateway_url)

    def start(self, name: str, command: list[str]) -> Child:
        """Start a process with the installation's settings; its output goes to a file beside the stores."""
        child = start_child(
            name,
            command,
            log=self.directory / f"{name}.log",
            environment=self.environment,
            directory=ROOT,
        )
        self.children[name] = child
        return child

    def stop(self, name: str) -> None:
        """Stop one process and forget it."""
        self.children.pop(name).stop()

    def wait_ready(self, name: str, url: str) -> None:
        """Until /readyz answers 200; fails with the end of the process's log."""

        def ready() -> bool:
            child = self.children[name]
            assert child.running(), f"{name} ended: {child.last_words(40)}"
            try:
                return self.pool.request("GET", f"{url}/readyz").status == 200
            except urllib3.exceptions.HTTPError:
                return False

        wait_until(ready, READY_TIMEOUT_S, lambda: self.children[name].last_words(40))


def wait_until(
    done: Callable[[], bool], timeout_s: int, why: Callable[[], str] = lambda: ""
) -> None:
    """Ask again and again until it is true; fails, with the reason, after the timeout."""
    end = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < end, f"not within {timeout_s} s: {why()}"
        time.sleep(POLL_S)


def free_port() -> int:
    """A port of the loopback interface that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def open_installation(
    directory: Path, *, workers: int = 1, test_clock: bool = True, **settings: str
) -> tuple[Installation, list[Server]]:
    """Start everything; what it returns is to be given to `close_installation`."""
    stores = [
        start_valkey(directory / "valkey"),
        start_postgres(directory / "postgres", durable=False),
    ]
    gateway_port, control_port, admin_key = free_port(), free_port(), secrets.token_hex(16)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TALLYGATE_")},
        "REDIS_URL": stores[0].url,
        "DATABASE_URL": stores[1].url,
        "TALLYGATE_ADMIN_KEY": admin_key,
        "TALLYGATE_PORT": str(gateway_port),
        "TALLYGATE_CONTROL_PORT": str(control_port),
        "TALLYGATE_DEADLINE_MS": DEADLINE_MS,
        "TALLYGATE_TEST_CLOCK": "1" if test_clock else "0",
        **settings,
    }
    installation = Installation(
        directory=directory,
        redis_url=stores[0].url,
        database_url=stores[1].url,
        gateway_url=f"http://127.0.0.1:{gateway_port}",
        control_url=f"http://127.0.0.1:{control_port}",
        admin_key=admin_key,
        environment=environment,
    )
    try:
        installation.start("reconciler", [sys.executable, "-m", "reconciler"])
        installation.wait_ready("reconciler", installation.control_url)
        installation.start_gateway(workers)
    except BaseException:
        close_installation(installation, stores)
        raise
    return installation, stores


def close_installation(installation: Installation, stores: list[Server]) -> None:
    """Stop everything that was started, the stores last."""
    for name in reversed(list(installation.children)):
        installation.stop(name)
    for store in reversed(stores):
        store.stop()
