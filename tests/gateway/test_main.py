"""`python -m gateway` as a process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from gateway.app import make_app
from tests.gateway.conftest import ADMIN_KEY, World, settings_for
from tests.gateway.process import serving

PATIENCE_SECONDS = 20


@pytest.fixture
def acme(redis_client, valkey_url):
    world = World(redis=redis_client, url=valkey_url, app=make_app(settings_for(valkey_url)))
    world.put_catalog()
    world.adopt(0)
    world.customer("acme")


def consume(url):
    body = json.dumps({"customer": "acme", "feature": "api_calls"}).encode()
    headers = {"X-API-Key": ADMIN_KEY, "Content-Type": "application/json"}
    with urlopen(Request(f"{url}/v1/consume", body, headers), timeout=10) as answer:
        return json.load(answer)


def decided(url):
    with urlopen(f"{url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if line.startswith("tallygate_decisions_total")]
    return sum(int(float(line.rpartition(" ")[2])) for line in found)


def workers_of(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in found if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def test_any_worker_tells_the_metrics_of_all(acme, valkey_url):
    with serving(valkey_url, "--workers", "2") as served:
        allowed = [consume(served.url)["allowed"] for _ in range(8)]
        assert allowed == [True] * 5 + [False] * 3
        give_up = time.monotonic() + PATIENCE_SECONDS
        seen = [decided(served.url)]
        while seen[-1] < 8 and time.monotonic() < give_up:
            seen.append(decided(served.url))
        assert seen[-1] == 8
        assert seen == sorted(seen), "no counter goes back, whichever worker answers"


def test_a_killed_gateway_leaves_no_worker_behind(acme, valkey_url):
    with serving(valkey_url, "--workers", "2") as served:
        workers = workers_of(served.process.pid)
        assert len(workers) == 2
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait(PATIENCE_SECONDS)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < give_up, "a worker outlived its parent"
            time.sleep(0.05)


def run(*flags, **environment):
    return subprocess.run(
        [sys.executable, "-m", "gateway", *flags],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def test_a_busy_port_is_an_error_that_names_the_flag():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = run("--port", str(taken.getsockname()[1]))
    assert found.returncode == 2
    assert "--port" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_setting_that_cannot_be_used_stops_it_and_is_named():
    found = run(TALLYGATE_ON_OUTAGE="open", REDIS_URL="http://x")
    assert found.returncode == 2
    assert "TALLYGATE_ON_OUTAGE" in found.stderr
    assert "REDIS_URL" in found.stderr
