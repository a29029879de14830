"""`python -m tests.benchmarks.consume`: POST /v1/consume beside a ceiling and a floor, in one run, by wrk.

Each round measures the three one after another, so that a slow minute of the machine meets all of them; the medians
over the rounds and their ratios are what counts, never one absolute number.
"""

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import redis

from deploy.stores import start_valkey
from tests.benchmarks.installation import CUSTOMER, FEATURE, SECRET, install
from tests.benchmarks.report import Row, table

CONTESTANTS = {
    "do-nothing app": ["uvicorn", "tests.benchmarks.do_nothing:app"],
    "naive gateway": ["uvicorn", "tests.benchmarks.naive:app"],
    "tallygate": ["gateway"],
}
START_MAX_S = 15
BODY = json.dumps({"customer": CUSTOMER, "feature": FEATURE, "quantity": 1})
WRK_SCRIPT = f"""
wrk.method = "POST"
wrk.body = '{BODY}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {SECRET}"
"""


def main() -> int:
    """Measure and print the table; 2 when wrk is absent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.stderr.write("wrk is not installed\n")
        return 2
    with TemporaryDirectory(prefix="tg-bench-") as folder:
        directory = Path(folder)
        (directory / "post.lua").write_text(WRK_SCRIPT)
        with start_valkey(directory / "valkey", appendonly=True) as valkey:
            install(redis.Redis.from_url(valkey.url, retry=None))
            with ExitStack() as running:
                servers = [_Server(name, words, valkey.url) for name, words in CONTESTANTS.items()]
                for server in servers:
                    running.callback(server.stop)
                for server in servers:
                    server.wait()
                rows = _measure(servers, directory / "post.lua", options)
    sys.stdout.write(table(rows, baseline="do-nothing app", floor="naive gateway"))
    return 0


class _Server:
    """One contestant, running on a free port of loopback with one worker."""

    def __init__(self, name: str, words: list[str], redis_url: str) -> None:
        self.name = name
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", *words, "--port", str(self.port)]
        if words[0] == "uvicorn":
            command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
            command += ["--log-level", "warning"]
        environment = {**os.environ, "REDIS_URL": redis_url, "TALLYGATE_DEADLINE_MS": "1000"}
        environment["PYTHONPATH"] = "."
        self._process = subprocess.Popen(
            command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def wait(self) -> None:
        """Until it allows a request. Raises OSError when it does not come up."""
        deadline = time.monotonic() + START_MAX_S
        request = Request(
            f"http://127.0.0.1:{self.port}/v1/consume",
            BODY.encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {SECRET}"},
        )
        while True:
            try:
                with urlopen(request, timeout=1) as answer:
                    assert json.load(answer)["allowed"] is True
                return
            except HTTPError as error:
                raise RuntimeError(f"{self.name}: {error.read().decode()}") from error
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def load(self, script: Path, options: argparse.Namespace) -> Row:
        """One round of wrk: requests a second, median and 99th percentile."""
        run = subprocess.run(
            [
                *("wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s"),
                *("--latency", "-s", str(script), f"http://127.0.0.1:{self.port}/v1/consume"),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        assert "Non-2xx" not in run.stdout, run.stdout
        rate = re.search(r"Requests/sec: +([\d.]+)", run.stdout)
        assert rate is not None, run.stdout
        return Row(self.name, float(rate[1]), _latency(run.stdout, 50), _latency(run.stdout, 99))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=START_MAX_S)


def _latency(output: str, percentile: int) -> float:
    """Milliseconds from wrk's table."""
    found = re.search(rf"{percentile}% +([\d.]+)(us|ms|s)", output)
    assert found is not None, output
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]]


def _measure(servers: list[_Server], script: Path, options: argparse.Namespace) -> list[Row]:
    rounds: dict[str, list[Row]] = {server.name: [] for server in servers}
    for number in range(options.rounds):
        for server in servers:
            rounds[server.name].append(server.load(script, options))
            sys.stderr.write(f"round {number + 1}: {rounds[server.name][-1]}\n")
    return [
        Row(
            name,
            statistics.median(row.per_second for row in rows),
            statistics.median(row.median_ms for row in rows),
            statistics.median(row.p99_ms for row in rows),
        )
        for name, rows in rounds.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
