"""`tallygate up` as a process: it works at once, keeps its data, and leaves nothing behind, however it ends."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3

PATIENCE_S = 60
ROOT = Path(__file__).resolve().parents[2]
CATALOG = ROOT / "deploy" / "demo.yaml"
NOBODY = 65_534


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A `tallygate up` that has said where it is."""

    process: "subprocess.Popen[str]"
    places: dict[str, Any]

    def family(self) -> list[psutil.Process]:
        """It and everything it started."""
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode

    def newcomer(self) -> urllib3.BaseHTTPResponse:
        """The curl that `tallygate up` prints."""
        headers = {"X-API-Key": self.places["customerKey"]}
        url = f"{self.places['gateway']}/authz/plain/hello"
        return urllib3.request("GET", url, headers=headers, retries=False)

    def ask(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A verb, on the installation in the folder."""
        command = [sys.executable, "-m", "deploy.cli", *words, "--data", self.places["data"]]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def start(data: Path, *options: str, **popen: Any) -> Running:
    command = [sys.executable, "-m", "deploy.cli", "up", "--json", "--data", str(data)]
    ports = [
        word
        for flag in ("--gateway-port", "--control-port")
        for word in (flag, "0")
        if flag not in options
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLYGATE_")}
    kept |= {"TALLYGATE_DEADLINE_MS": "5000"}
    with (data.parent / f"{data.name}.err").open("w") as talk:
        process = subprocess.Popen(
            [*command, *ports, *options],
            stdout=subprocess.PIPE,
            stderr=talk,
            text=True,
            env=kept,
            cwd=ROOT,
            **popen,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, Path(talk.name).read_text()
    return Running(process=process, places=json.loads(line))


def gone(family: list[psutil.Process]) -> bool:
    return not any(alive(each) for each in family)


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def folder(store_directory: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    path = store_directory / request.node.name[:40]
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def running(store_directory: Path) -> Iterator[Running]:
    """One installation for the tests that do not end it."""
    running = start(store_directory / "up", "--test-clock")
    yield running
    running.end(signal.SIGINT)


def test_a_newcomer_goes_from_allowed_to_denied(running: Running) -> None:
    assert [running.newcomer().status for _ in range(6)] == [200] * 5 + [429]
    denied = running.newcomer()
    assert int(denied.headers["Retry-After"]) <= 3600
    assert denied.json()["status"] == 429


def test_the_verbs_agree_with_each_other(running: Running) -> None:
    assert running.ask("clock", "advance", "1", "hour").returncode == 0
    assert running.ask("consume", "newcomer", "api_calls", "5").returncode == 0
    denied = running.ask("consume", "newcomer", "api_calls", "--json")
    assert denied.returncode == 1
    assert json.loads(denied.stdout)["reason"] == "allowance_exhausted"
    assert "newcomer is on free" in running.ask("explain", "newcomer").stdout
    assert running.ask("clock", "advance", "1", "hour").returncode == 0
    assert running.ask("check", "newcomer", "api_calls", "5").returncode == 0
    assert "total: " in running.ask("invoice", "preview", "acme").stdout
    verified = running.ask("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_customers_and_keys_are_administered(running: Running) -> None:
    zone = "Europe/Berlin"
    assert running.ask("customers", "put", "wonka", "--time-zone", zone).returncode == 0
    assert running.ask("customers", "subscribe", "wonka", "free").returncode == 0
    assert running.ask("customers", "put", "wonka", "--suspend").returncode == 0
    suspended = running.ask("check", "wonka", "api_calls", "--json")
    assert json.loads(suspended.stdout)["reason"] == "customer_suspended"
    shown = json.loads(running.ask("customers", "show", "wonka", "--json").stdout)
    assert (shown["timeZone"], shown["suspended"]) == (zone, True)
    made = json.loads(running.ask("keys", "create", "--customer", "wonka", "--json").stdout)
    assert made["id"] in running.ask("keys", "list").stdout
    assert running.ask("keys", "revoke", made["id"]).returncode == 0
    assert made["id"] not in running.ask("keys", "list").stdout


def test_a_catalog_is_compared_and_published(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "next.yaml"
    file.write_text(CATALOG.read_text())
    assert running.ask("catalog", "diff", str(file)).returncode == 0
    file.write_text(CATALOG.read_text().replace("price: 49", "price: 59"))
    changed = running.ask("catalog", "diff", str(file))
    assert changed.returncode == 1
    assert "plans.pro.price" in changed.stdout
    assert running.ask("catalog", "push", str(file), "--existing", "keep").returncode == 0
    assert json.loads(running.ask("catalog", "show", "--json").stdout)["version"] == 2
    assert running.ask("catalog", "diff", str(file)).returncode == 0


def test_a_refusal_says_why_on_stderr(running: Running) -> None:
    refused = running.ask("balances", "nobody-here")
    assert refused.returncode == 2
    assert "There is no such customer" in refused.stderr
    assert refused.stdout == ""


def test_two_do_not_share_a_folder(running: Running) -> None:
    answer = running.ask("up")
    assert answer.returncode == 2
    assert "--data" in answer.stderr
    assert running.process.poll() is None


def test_a_gateway_that_dies_is_started_again(running: Running) -> None:
    before = one(running, "gateway")
    before.kill()
    until(lambda: running.ask("doctor").returncode == 0 and not alive(before))
    assert one(running, "gateway").pid != before.pid


def test_a_busy_port_names_the_flag(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "deploy.cli", "up", "--data", str(folder)]
        answer = subprocess.run(
            [*command, "--gateway-port", port],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert answer.returncode == 2
    assert "--gateway-port" in answer.stderr


@pytest.mark.timeout(300)
def test_control_c_leaves_no_process_and_forgets_nothing(folder: Path) -> None:
    first = start(folder)
    assert [first.newcomer().status for _ in range(4)] == [200] * 4
    family = first.family()
    words = " ".join(word for each in family for word in each.cmdline())
    assert all(name in words for name in ("valkey", "postgres", "reconciler", "gateway", "demo"))
    assert first.end(signal.SIGINT) == 0
    assert gone(family)
    second = start(folder)
    assert second.places["customerKey"] == first.places["customerKey"]
    assert [second.newcomer().status for _ in range(2)] == [200, 429]
    assert second.end(signal.SIGTERM) == 0
    third = start(folder, "--fresh", "--no-demo")
    assert third.ask("customers", "list", "--json").stdout == ""
    third.end(signal.SIGINT)


def test_killing_it_leaves_no_orphan_not_even_a_worker(folder: Path) -> None:
    killed = start(folder, "--workers", "2")
    family = killed.family()
    killed.end(signal.SIGKILL)
    until(lambda: gone(family))


def test_it_runs_as_an_unprivileged_user(folder: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("these tests run as an unprivileged user already")
    if not reachable_by_nobody(Path(sys.executable)):
        pytest.skip(f"{sys.executable} cannot be reached by another user")
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    humble = start(folder, "--no-demo", user=NOBODY, group=NOBODY, extra_groups=[])
    assert humble.ask("doctor").returncode == 0
    assert {each.uids().real for each in humble.family()} == {NOBODY}
    humble.end(signal.SIGINT)


def reachable_by_nobody(program: Path) -> bool:
    try:
        done = subprocess.run(
            [str(program), "-c", ""], user=NOBODY, group=NOBODY, extra_groups=[], check=False
        )
    except PermissionError:
        return False
    return done.returncode == 0


def one(running: Running, module: str) -> psutil.Process:
    """The process that was started as `python -m MODULE`."""
    found = [each for each in running.family() if each.cmdline()[1:3] == ["-m", module]]
    assert len(found) == 1
    return found[0]
