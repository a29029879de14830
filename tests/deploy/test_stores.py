"""The embedded stores are real servers, keep their data, and never outlive their parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from deploy.stores import forget_postgres, start_postgres, start_valkey

PATIENCE_S = 20
START_BOTH_AND_HANG = """
import sys, time
from pathlib import Path
from deploy.stores import forget_postgres, start_postgres, start_valkey
directory = Path(sys.argv[1])
valkey, postgres = start_valkey(directory / "v"), start_postgres(directory / "p", durable=False)
print(valkey.pid, postgres.pid, flush=True)
time.sleep(600)
"""


def test_valkey_evicts_nothing_and_logs_every_second(store_directory: Path) -> None:
    with start_valkey(store_directory / "kept") as server:
        client = redis.Redis.from_url(server.url)
        assert client.info()["maxmemory_policy"] == "noeviction"
        assert client.info()["aof_enabled"] == 1
        assert client.config_get("appendfsync")["appendfsync"] == "everysec"


def test_valkey_keeps_its_data_over_a_restart(store_directory: Path) -> None:
    with start_valkey(store_directory / "restarted") as server:
        redis.Redis.from_url(server.url).set("kept", "yes")
    with start_valkey(store_directory / "restarted") as server:
        assert redis.Redis.from_url(server.url).get("kept") == b"yes"


def test_postgres_keeps_its_data_over_a_restart(store_directory: Path) -> None:
    for expected in (0, 1):
        with start_postgres(store_directory / "pg", durable=False) as server:
            with psycopg.connect(server.url) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS kept (n integer)")
                rows = connection.execute("SELECT count(*) FROM kept").fetchone()
                connection.execute("INSERT INTO kept VALUES (1)")
        assert rows == (expected,)


def test_postgres_wants_its_password(database_url: str) -> None:
    other = database_url.replace("://tallygate:", "://tallygate:not-")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(other)


def test_a_long_data_path_still_gets_a_short_socket(store_directory: Path) -> None:
    with start_valkey(store_directory / ("long" * 30)) as server:
        assert len(server.url) < 108
        assert redis.Redis.from_url(server.url).ping()


@pytest.mark.skipif(os.getuid() != 0, reason="only as root does Postgres run as another user")
def test_as_root_the_data_go_where_nobody_can_reach_them(store_directory: Path) -> None:
    closed = store_directory / "closed"
    closed.mkdir(mode=0o700)
    with start_postgres(closed / "pg", durable=False) as server:
        home = Path((closed / "pg" / "home").read_text())
        assert f"data in {home}" in server.origin
        psycopg.connect(server.url).close()
    with start_postgres(closed / "pg", durable=False) as server:
        assert f"data in {home}" in server.origin
    assert closed.stat().st_mode & 0o777 == 0o700
    forget_postgres(closed / "pg")
    assert not home.exists()


def test_a_killed_parent_leaves_no_store_behind(store_directory: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", START_BOTH_AND_HANG, str(store_directory / "orphans")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2 and all(alive(pid) for pid in pids)
    parent.send_signal(signal.SIGKILL)
    parent.communicate(timeout=PATIENCE_S)
    until(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
