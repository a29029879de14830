"""A gateway as a real process, for what only a process can show."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from tests.gateway.conftest import ADMIN_KEY

STOP_SECONDS_MAX = 20


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running gateway process and where it listens."""

    url: str
    process: "subprocess.Popen[str]"


@contextmanager
def serving(redis_url: str, *flags: str) -> Iterator[Served]:
    """`python -m gateway` on a port it picks, once every worker has read the live catalog."""
    environment = {
        **os.environ,
        "REDIS_URL": redis_url,
        "TALLYGATE_ADMIN_KEY": ADMIN_KEY,
        "TALLYGATE_ACCEPT_LOSS": "persistence",
        "TALLYGATE_DEADLINE_MS": "5000",
    }
    command = [sys.executable, "-m", "gateway", "--port", "0", *flags]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield Served(url=_listening_url(process.stderr), process=process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(STOP_SECONDS_MAX)


def _listening_url(lines: IO[str]) -> str:
    """What the gateway says once it knows its port, after all its workers have opened everything."""
    url, missing = "", 0
    for line in lines:
        event = json.loads(line)
        if event["event"] == "listening":
            url, missing = event["url"], event["workers"]
        if event["event"] == "catalog_live":
            missing -= 1
        if url and missing == 0:
            return url
    raise AssertionError("the gateway did not start")
