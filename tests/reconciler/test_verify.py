from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from gateway.pricing.window import Span
from lua import keys
from reconciler.clock import milliseconds, rfc3339
from reconciler.drift import Drift
from reconciler.verify import verify
from tests.lua.calls import feature, limit, per_unit
from tests.reconciler.decisions import HOUR_MS, Decisions, charged

pytestmark = pytest.mark.usefixtures("few_buckets")


@pytest.fixture
def busy(decisions: Decisions) -> Decisions:
    """Two customers with usage in three windows, over the included quantity, most of it copied."""
    decisions.entitle(
        "acme",
        charged(limits=(limit(500, "hour"), limit(900, "5 hours", "first_use"))),
        feature("searches", included=None, reset=Span("month")),
    )
    decisions.entitle("globex")
    for number in range(12):
        decisions.consume("acme", 1 + number % 3)
        decisions.consume("globex", 2)
    decisions.consume("acme", 7, name="searches")
    decisions.customers["globex"].track(40)
    decisions.copy()
    decisions.consume("acme", 5)
    return decisions


@pytest.fixture
def prove(busy: Decisions, database_url: str) -> Callable[[], list[Drift]]:
    def run() -> list[Drift]:
        with psycopg.connect(database_url) as connection:
            return verify(connection, busy.redis)

    return run


def tamper(decisions: Decisions, statement: str, *values: Any) -> None:
    """Change a row as somebody with every right in Postgres would."""
    with decisions.connection.transaction():
        decisions.connection.execute("SET LOCAL session_replication_role = replica")
        assert decisions.connection.execute(statement, values).rowcount > 0


def kinds(drift: list[Drift]) -> set[str]:
    return {each.kind for each in drift}


def id_of(decisions: Decisions, customer: str, number: int) -> tuple[str, int]:
    """The id of a customer's nth decision in the ledger, and its sequence number."""
    found = decisions.connection.execute(
        "SELECT bucket, epoch, seq FROM tg.decisions WHERE customer = %s ORDER BY seq", [customer]
    ).fetchall()
    bucket, epoch, seq = found[number]
    return f"{bucket:04d}-{epoch}-{seq}", seq


def test_usage_that_nobody_touched_has_no_drift(prove):
    assert prove() == []


def test_there_is_no_drift_when_everything_is_copied(busy, prove):
    busy.copy()
    assert prove() == []


def test_there_is_no_drift_after_windows_have_rolled(busy, prove):
    calls = busy.customers["acme"]
    calls.move_to(busy.now_ms() + 6 * HOUR_MS)
    busy.consume("acme", 2)
    calls.move_to(busy.now_ms() + 40 * 24 * HOUR_MS)
    busy.consume("acme", 11)
    busy.consume("acme", 1, name="searches")
    assert prove() == []
    busy.copy()
    assert prove() == []


def test_there_is_no_drift_after_a_price_has_changed(busy, prove):
    busy.entitle("globex", charged(price=per_unit("0.01"), limits=(limit(900, "day"),)), version=2)
    busy.consume("globex", 30)
    assert prove() == []
    busy.copy()
    assert prove() == []


def test_there_is_no_drift_after_redis_was_counted_again(busy, prove):
    busy.copy()
    busy.redis.flushall()
    busy.adopt()
    assert prove() == []
    busy.consume("acme", 3)
    busy.consume("globex", 3)
    assert prove() == []


@pytest.mark.parametrize(
    ("change", "also"),
    [
        ("quantity = quantity + 1, included = included + 1", "sequence"),
        ("at = at + interval '1 second'", "chain"),
        ("customer = 'globex'", "counter"),
        ("""stamp = '{"request": "another"}'""", "chain"),
        ("source = 'nobody'", "rollup"),
    ],
)
def test_an_altered_row_is_named(busy, prove, change, also):
    name, seq = id_of(busy, "acme", 3)
    statement = f"UPDATE tg.decisions SET {change} WHERE bucket = %s AND seq = %s"
    tamper(busy, statement, keys.bucket_of("acme"), seq)
    drift = prove()
    assert any(f"decision {name} item 0" in each.where for each in drift if each.kind == "chain")
    assert also in kinds(drift)


def test_an_altered_cost_is_named_with_what_the_price_says(busy, prove):
    name, seq = id_of(busy, "globex", 9)
    statement = "UPDATE tg.decisions SET cost = cost + 1 WHERE customer = 'globex' AND seq = %s"
    tamper(busy, statement, seq)
    (cost,) = [each for each in prove() if each.kind == "cost"]
    assert name in cost.where
    assert "the price says" in cost.message


def test_a_removed_row_is_named(busy, prove):
    name, seq = id_of(busy, "acme", 3)
    tamper(busy, "DELETE FROM tg.decisions WHERE customer = 'acme' AND seq = %s", seq)
    assert f"decision {name}" in {each.where for each in prove() if each.kind == "sequence"}


def test_a_removed_last_row_is_named(busy, prove):
    name, seq = id_of(busy, "globex", -1)
    tamper(busy, "DELETE FROM tg.decisions WHERE customer = 'globex' AND seq = %s", seq)
    assert f"decision {name}" in {each.where for each in prove() if each.kind == "sequence"}


def test_an_altered_rollup_is_named(busy, prove):
    tamper(busy, "UPDATE tg.usage SET quantity = quantity + 1 WHERE customer = 'globex'")
    (drift,) = prove()
    assert drift.kind == "rollup"
    assert "globex api_calls" in drift.where


def test_an_altered_counter_is_named(busy, prove):
    busy.redis.hincrby(keys.usage("acme", "api_calls"), "hour.calendar:used", 1)
    (drift,) = prove()
    assert (drift.kind, drift.where) == ("counter", "counter of acme api_calls")
    assert "hour.calendar" in drift.message


def test_a_missing_counter_is_named(busy, prove):
    busy.redis.delete(keys.usage("acme", "searches"))
    assert {each.where for each in prove()} == {"counter of acme searches"}


def test_a_counter_without_decisions_is_named(busy, prove):
    busy.entitle("initech")
    state = busy.redis.dump(keys.usage("globex", "api_calls"))
    busy.redis.restore(keys.usage("initech", "api_calls"), 0, state)
    assert {each.where for each in prove()} == {"counter of initech api_calls"}


def test_an_altered_log_entry_is_named(busy, prove):
    key = keys.log(keys.bucket_of("globex"))
    entry_id, fields = busy.redis.xrange(key)[-1]
    busy.redis.xdel(key, entry_id)
    fields[b"i"] = (
        fields[b"i"].replace(b"api_calls,40,", b"api_calls,41,").replace(b",40,", b",41,")
    )
    epoch, seq = entry_id.decode().split("-")
    busy.redis.delete(key)
    busy.redis.xadd(key, fields, id=entry_id)
    drift = prove()
    assert "log" in kinds(drift)
    assert any(f"-{epoch}-{seq}" in each.where for each in drift)


def test_an_entry_that_cannot_be_read_is_named(busy, prove):
    key = keys.log(keys.bucket_of("globex"))
    busy.redis.xadd(key, {"f": "9"}, id="999-1")
    assert "log" in kinds(prove())


def test_a_known_loss_is_not_told_as_a_missing_row(busy, prove):
    bucket = keys.bucket_of("acme")
    lost = busy.redis.xrevrange(keys.log(bucket), count=1)[0][0]
    busy.redis.xdel(keys.log(bucket), lost)
    busy.consume("acme", 1)
    busy.copy()
    drift = prove()
    assert not [each for each in drift if "does not have it" in each.message]
    assert any("does not follow" in each.message for each in drift)


def invoice(busy: Decisions, exact: str, amount: str, quantity: int) -> None:
    """A finalized invoice of globex's running period."""
    line: dict[str, Any] = {
        "kind": "usage",
        "feature": "api_calls",
        "segment": 1,
        "description": "API calls",
        "quantity": quantity,
        "exact": exact,
        "amount": amount,
    }
    (start,) = busy.connection.execute(
        "SELECT min(period_start) FROM tg.usage WHERE customer = 'globex'"
    ).fetchone()
    line["period"] = {"start": rfc3339(milliseconds(start))}
    doc = {"lines": [line] if quantity else [], "subtotal": amount, "total": amount}
    busy.connection.execute(
        "INSERT INTO tg.catalogs VALUES (1, repeat('0', 64), '{}', '', now()) ON CONFLICT DO NOTHING"
    )
    busy.connection.execute(
        "INSERT INTO tg.customers (id, doc, created_at, updated_at)"
        " VALUES ('globex', '{}', now(), now())"
    )
    busy.connection.execute("INSERT INTO tg.invoice_numbers VALUES ('INV', 2)")
    busy.connection.execute(
        "INSERT INTO tg.invoices (id, number, customer, status, currency, period_start, period_end,"
        " total, doc, created_at, finalized_at)"
        " SELECT 'inv_1', 'INV-000001', 'globex', 'finalized', 'USD', min(period_start),"
        " max(period_end), %s, %s, now(), now() FROM tg.usage WHERE customer = 'globex'",
        [amount, Jsonb(doc)],
    )


def test_an_invoice_of_what_the_ledger_has_is_no_drift(busy, prove):
    invoice(busy, "0.216", "0.22", 64)
    assert prove() == []


@pytest.mark.parametrize(
    ("exact", "amount", "quantity"),
    [
        ("0.212", "0.21", 64),
        ("0.216", "0.22", 63),
        ("0.216", "0.21", 64),
        ("0", "0", 0),
    ],
)
def test_an_invoice_of_something_else_is_named(busy, prove, exact, amount, quantity):
    invoice(busy, exact, amount, quantity)
    (drift,) = prove()
    assert (drift.kind, drift.where) == ("invoice", "invoice INV-000001 (inv_1)")


def test_an_entitlement_that_postgres_lost_is_named(busy, prove):
    tamper(busy, "DELETE FROM tg.entitlements WHERE customer = 'globex'")
    assert {each.kind for each in prove()} == {"entitlement"}
