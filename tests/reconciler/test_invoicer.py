"""Closing periods, without HTTP: what is waited for, and what is refused."""

from itertools import pairwise
from typing import Any

import psycopg
import pytest
from redis import Redis

from lua import keys
from reconciler.clock import Clock
from reconciler.invoicer import Invoicer
from tests.reconciler.control.plane import Plane, running_plane


@pytest.fixture
def plane(redis_client: Redis, connection: psycopg.Connection[Any], database_url: str) -> Any:
    with running_plane(redis_client, connection, database_url) as running:
        running.push()
        running.subscribe("acme")
        running.run()
        running.consume("acme", 25)
        running.advance("32 days")
        yield running


def invoicer(plane: Plane, **more: Any) -> Invoicer:
    given: dict[str, Any] = {"grace_ms": 3_600_000, "ledger_wait_ms": 100, **more}
    return Invoicer(redis=plane.redis, clock=Clock(test_clock=True), **given)


def test_a_period_that_the_ledger_does_not_have_yet_waits(plane: Plane) -> None:
    done = invoicer(plane).run(plane.connection)
    assert (done.issued, [each["customer"] for each in done.waiting]) == ([], ["acme"])
    plane.copy()
    assert len(invoicer(plane).run(plane.connection).issued) == 1


def test_no_decision_can_fall_into_a_period_behind_its_barrier(plane: Plane) -> None:
    plane.copy()
    invoicer(plane).run(plane.connection)
    end = plane.connection.execute("SELECT max(period_end) FROM tg.invoices").fetchone()
    assert end is not None
    clock_ms = int(plane.redis.hget(keys.meta(keys.bucket_of("acme")), "clock_ms") or 0)
    assert clock_ms >= end[0].timestamp() * 1000


def test_a_redis_whose_clock_is_behind_makes_the_period_wait(plane: Plane) -> None:
    plane.copy()
    plane.redis.hset(keys.meta(keys.bucket_of("acme")), "offset_ms", "0")
    done = invoicer(plane).run(plane.connection)
    assert "clock" in done.waiting[0]["reason"]
    assert done.issued == []


def test_a_redis_that_forgot_everything_makes_the_period_wait(plane: Plane) -> None:
    plane.copy()
    plane.redis.flushall()
    plane.ok("POST", "/v1/clock", {"advance": "1 day"})
    done = invoicer(plane).run(plane.connection)
    assert "adopted" in done.waiting[0]["reason"]
    plane.adopt()
    assert len(invoicer(plane).run(plane.connection).issued) == 1


def test_costs_that_the_price_does_not_ask_for_are_not_billed(plane: Plane) -> None:
    plane.copy()
    plane.connection.execute("UPDATE tg.usage SET cost = cost + 1 WHERE customer = 'acme'")
    plane.subscribe("umbrella")
    done = invoicer(plane).run(plane.connection)
    assert [each["customer"] for each in done.failed] == ["acme"]
    assert "rated" in done.failed[0]["reason"]
    assert len(done.issued) == 1, "another customer's trouble holds nobody up"


def test_a_failure_in_the_middle_leaves_no_gap_in_the_numbers(plane: Plane) -> None:
    plane.copy()
    plane.connection.execute("UPDATE tg.usage SET cost = cost + 1 WHERE customer = 'acme'")
    invoicer(plane).run(plane.connection)
    plane.connection.execute("UPDATE tg.usage SET cost = cost - 1 WHERE customer = 'acme'")
    invoicer(plane).run(plane.connection)
    rows = plane.connection.execute("SELECT number FROM tg.invoices ORDER BY number").fetchall()
    assert [row[0] for row in rows] == ["INV-000001", "INV-000002"]


def test_every_missed_period_gets_an_invoice_of_its_own(plane: Plane) -> None:
    plane.copy()
    plane.advance("100 days")
    done = invoicer(plane).run(plane.connection)
    periods = plane.connection.execute(
        "SELECT period_start, period_end FROM tg.invoices ORDER BY period_end"
    ).fetchall()
    assert len(done.issued) == 4
    assert all(before[1] == after[0] for before, after in pairwise(periods)), "no gap, no overlap"


def test_one_customer_can_be_billed_alone(plane: Plane) -> None:
    plane.copy()
    plane.subscribe("umbrella")
    done = invoicer(plane).run(plane.connection, "umbrella")
    rows = plane.connection.execute(
        "SELECT customer FROM tg.invoices WHERE id = ANY (%s)", [done.issued]
    ).fetchall()
    assert rows == [("umbrella",)]
