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
        return self.process.wait(PATIENCE_S)

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
    _, alive = psutil.wait_procs(family, timeout=0)
    return not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


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


def test_a_newcomer_goes_from_allowed_to_denied_and_control_c_leaves_nothing(folder: Path) -> None:
    running = start(folder)
    statuses = [running.newcomer().status for _ in range(6)]
    assert statuses == [200] * 5 + [429]
    denied = running.newcomer()
    assert int(denied.headers["Retry-After"]) <= 3600
    assert denied.json()["status"] == 429
    family = running.family()
    names = " ".join(word for each in family for word in each.cmdline())
    assert all(name in names for name in ("valkey", "postgres", "reconciler", "gateway", "demo"))
    assert running.end(signal.SIGINT) == 0
    assert gone(family)


def test_killing_it_leaves_no_orphan_not_even_a_worker(folder: Path) -> None:
    running = start(folder, "--workers", "2")
    family = running.family()
    running.end(signal.SIGKILL)
    until(lambda: gone(family))


def test_what_it_knew_is_there_the_next_time(folder: Path) -> None:
    first = start(folder)
    assert [first.newcomer().status for _ in range(4)] == [200] * 4
    assert first.end(signal.SIGTERM) == 0
    second = start(folder)
    assert second.places["customerKey"] == first.places["customerKey"]
    assert [second.newcomer().status for _ in range(2)] == [200, 429]
    second.end(signal.SIGINT)
    third = start(folder, "--fresh", "--no-demo")
    assert third.ask("customers", "list", "--json").stdout == ""
    third.end(signal.SIGINT)


def test_a_gateway_that_dies_is_started_again(folder: Path) -> None:
    running = start(folder, "--no-demo")
    before = one(running, "gateway")
    before.kill()
    until(lambda: running.ask("doctor").returncode == 0)
    assert one(running, "gateway").pid != before.pid
    running.end(signal.SIGINT)


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


def test_two_do_not_share_a_folder(folder: Path) -> None:
    running = start(folder, "--no-demo")
    command = [sys.executable, "-m", "deploy.cli", "up", "--data", str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 2
    assert "--data" in answer.stderr
    assert running.process.poll() is None
    running.end(signal.SIGINT)


def test_the_verbs_agree_with_each_other(folder: Path) -> None:
    running = start(folder, "--test-clock")
    assert running.ask("consume", "newcomer", "api_calls", "5").returncode == 0
    denied = running.ask("consume", "newcomer", "api_calls", "--json")
    assert denied.returncode == 1
    decision = json.loads(denied.stdout)
    assert decision["reason"] == "allowance_exhausted"
    assert "newcomer is on free" in running.ask("explain", "newcomer").stdout
    assert running.ask("clock", "advance", "1", "hour").returncode == 0
    assert running.ask("check", "newcomer", "api_calls", "5").returncode == 0
    assert "total: " in running.ask("invoice", "preview", "acme").stdout
    verified = running.ask("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    running.end(signal.SIGINT)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_it_runs_as_an_unprivileged_user(folder: Path) -> None:
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    running = start(folder, "--no-demo", user=65534, group=65534, extra_groups=[])
    assert running.ask("doctor").returncode == 0
    assert {each.uids().real for each in running.family()} == {65534}
    running.end(signal.SIGINT)


def one(running: Running, module: str) -> psutil.Process:
    """The process we started as `python -m MODULE`."""
    found = [each for each in running.family() if each.cmdline()[1:3] == ["-m", module]]
    assert len(found) == 1
    return found[0]
