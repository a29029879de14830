"""The reconciler as a process."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import urllib3

from tests.reconciler.decisions import Decisions
from tests.reconciler.log_entries import FakeLog

ROOT = Path(__file__).parents[2]
WAIT_MAX_S = 30


@pytest.fixture
def environment(valkey_url, database_url, redis_client) -> dict[str, str]:
    return {
        **os.environ,
        "REDIS_URL": valkey_url,
        "DATABASE_URL": database_url,
        "TALLYGATE_ADMIN_KEY": "admin",
    }


@contextmanager
def reconciler(environment: dict[str, str], *flags: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "reconciler", *flags],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> tuple[int, str]:
    process.send_signal(number)
    _, said = process.communicate(timeout=WAIT_MAX_S)
    return process.returncode, said


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answer(url: str) -> tuple[int, str]:
    """What a server that may still be starting answers."""
    deadline = time.monotonic() + WAIT_MAX_S
    while True:
        try:
            response = urllib3.request("GET", url, retries=False, timeout=5)
            return response.status, response.data.decode()
        except urllib3.exceptions.HTTPError:
            assert time.monotonic() < deadline, f"{url} never answered"
            time.sleep(0.05)


def test_once_copies_the_log_and_ends(environment, redis_client, connection):
    log = FakeLog(redis=redis_client)
    for _ in range(3):
        log.consume("acme")
    with reconciler(environment, "--once") as process:
        _, said = process.communicate(timeout=WAIT_MAX_S)
        assert process.returncode == 0, said
    assert connection.execute("SELECT count(*) FROM tg.decisions").fetchone() == (3,)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_clean_and_leaves_nothing_half_done(
    environment, redis_client, connection, number
):
    url = f"http://127.0.0.1:{(port := free_port())}"
    with reconciler(environment, "--port", str(port)) as process:
        status, said = answer(f"{url}/metrics")
        assert status == 200
        for name in ("ledger_lag_seconds", "ledger_lag_entries", "redis_full_seconds", "drift"):
            assert f"tallygate_{name}" in said
        decisions = Decisions(redis=redis_client, connection=connection)
        decisions.entitle("acme")
        for _ in range(20):
            decisions.consume("acme")
        code, said = end(process, number)
    assert code == 0, said
    (copied,) = connection.execute("SELECT count(*) FROM tg.decisions").fetchone()
    assert copied in range(21)
    Decisions(redis=redis_client, connection=connection).copy()
    assert decisions.ledger("acme") == 20


def test_without_http_the_loop_runs_alone(environment, redis_client, connection):
    with reconciler(environment, "--no-http") as process:
        deadline = time.monotonic() + WAIT_MAX_S
        while not redis_client.exists("tg:{b0000}:meta"):
            assert time.monotonic() < deadline, "it never adopted the server"
            time.sleep(0.02)
        code, said = end(process)
    assert code == 0, said


def test_an_empty_database_is_migrated(environment, postgres_server, redis_client):
    with psycopg.connect(postgres_server.url, autocommit=True) as server:
        server.execute("CREATE DATABASE never_migrated")
        url = postgres_server.url.replace("@/tallygate?", "@/never_migrated?")
        try:
            with reconciler({**environment, "DATABASE_URL": url}, "--once") as process:
                _, said = process.communicate(timeout=WAIT_MAX_S)
                assert process.returncode == 0, said
                assert "migrated" in said
        finally:
            server.execute("DROP DATABASE never_migrated WITH (FORCE)")


def test_settings_that_cannot_be_used_are_named(environment):
    with reconciler({**environment, "DATABASE_URL": "", "REDIS_URL": "http://x"}) as process:
        _, said = process.communicate(timeout=WAIT_MAX_S)
    assert process.returncode == 2
    assert "DATABASE_URL is not set" in said
    assert "REDIS_URL must begin with" in said


def test_a_redis_that_is_away_is_an_unreachable_store(environment):
    with reconciler({**environment, "REDIS_URL": "unix:///nowhere.sock"}, "--once") as process:
        _, said = process.communicate(timeout=WAIT_MAX_S)
    assert process.returncode == 3, said
