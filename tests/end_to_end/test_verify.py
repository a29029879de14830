"""`tallygate verify` proves that all books agree, and names the row when one does not."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest
import redis

from lua import keys
from tests.end_to_end.books import ledger_row
from tests.end_to_end.installation import LEDGER_TIMEOUT_S, ROOT, Installation, wait_until

CATALOG = """
currency: USD
features:
  api_calls: {name: API calls, unit: call}
plans:
  paying:
    name: Paying
    features: {api_calls: {overage: charge, price: {model: per_unit, unit: "0.01"}}}
"""
USED = 7
ROW = "WHERE customer = 'acme' AND feature = 'api_calls'"


@pytest.fixture(scope="module")
def installation(running: Installation) -> Installation:
    running.push(CATALOG)
    running.customer("acme", "paying")
    for _ in range(USED):
        assert running.consume("acme", "api_calls")["allowed"]
    wait_until(lambda: ledger_row(running, "acme")[:2] == (USED, USED), LEDGER_TIMEOUT_S)
    return running


def verify(installation: Installation) -> tuple[int, str]:
    """Exit code of the command, and all it said."""
    environment = installation.environment | {
        "TALLYGATE_GATEWAY_URL": installation.gateway_url,
        "TALLYGATE_CONTROL_URL": installation.control_url,
    }
    command = [sys.executable, "-m", "deploy.cli", "verify"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture
def tamper(installation: Installation) -> Iterator[Callable[[str], None]]:
    """Changes a row behind the back of everybody, as the owner of the database could."""

    def change(statement: str) -> None:
        with psycopg.connect(installation.database_url) as connection:
            connection.execute("SET session_replication_role = replica")
            changed = connection.execute(statement.encode())
            assert changed.rowcount >= 1

    yield change
    assert verify(installation)[0] == 0, "the test puts back what it changed"


def test_untouched_books_agree(installation: Installation) -> None:
    code, said = verify(installation)
    assert code == 0, said


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (f"UPDATE tg.decisions SET quantity = quantity + 1, overage = overage + 1 {ROW} AND seq = 1",
         f"UPDATE tg.decisions SET quantity = quantity - 1, overage = overage - 1 {ROW} AND seq = 1"),
        (f"UPDATE tg.decisions SET cost = cost + 0.01 {ROW} AND seq = 2",
         f"UPDATE tg.decisions SET cost = cost - 0.01 {ROW} AND seq = 2"),
        (f"UPDATE tg.usage SET quantity = quantity - 1 {ROW}",
         f"UPDATE tg.usage SET quantity = quantity + 1 {ROW}"),
    ],
)  # fmt: skip
def test_a_tampered_row_is_named_and_the_exit_code_is_1(
    installation: Installation, tamper: Callable[[str], None], change: str, back: str
) -> None:
    tamper(change)
    code, said = verify(installation)
    tamper(back)
    assert code == 1, said
    assert "acme" in said
    assert "api_calls" in said


def test_a_tampered_counter_is_named_and_the_exit_code_is_1(installation: Installation) -> None:
    client = redis.Redis.from_url(installation.redis_url, decode_responses=True)
    key = keys.usage("acme", "api_calls")
    (field,) = [name for name in client.hkeys(key) if name == "period:used"]
    client.hincrby(key, field, 1)
    code, said = verify(installation)
    client.hincrby(key, field, -1)
    client.close()
    assert code == 1, said
    assert "acme" in said
