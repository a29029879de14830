"""Requests decided together get what they would have got one after another."""

from datetime import timedelta

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.pricing.entitlement import FeatureEntitlement
from lua import keys
from lua.reply import Code
from tests.lua.calls import Calls, dump, entitlement, feature, limit, per_unit
from tests.lua.features import features

AT_MS = 1_900_000_000_000
"""In the middle of every window there is, on the test clock."""


def without_times(rows: list[list[int]]) -> list[list[int]]:
    """now_ms, and the ends of windows opened by it, differ between two runs."""
    return [[row[0], *row[2:14], *row[14::2]] for row in rows]


def started(client: redis.Redis, customer: str, one: FeatureEntitlement) -> Calls:
    calls = Calls(client, customer)
    calls.adopt()
    calls.entitle(entitlement(one, customer=customer))
    calls.move_to(AT_MS)
    return calls


@settings(
    max_examples=150,
    deadline=timedelta(seconds=20),
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(features(), st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=8), max_size=5))
def test_together_is_as_one_after_another(
    redis_client: redis.Redis, one: FeatureEntitlement, rounds: list[list[int]]
) -> None:
    redis_client.flushall()
    alone, together = (started(redis_client, name, one) for name in ("alone", "together"))
    for quantities in rounds:
        expected = [alone.consume(quantity).raw for quantity in quantities]
        answers = together.consume_many(quantities)
        assert without_times(answers) == without_times(expected)
        states = [
            {name: value for name, value in calls.state().items() if not _is_time(name)}
            for calls in (alone, together)
        ]
        assert states[0] == states[1]
        entries = [
            [fields[b"i"].split(b",")[:8] for _, fields in calls.log()]
            for calls in (alone, together)
        ]
        assert entries[0] == entries[1]


def _is_time(name: bytes) -> bool:
    return name.endswith((b":from", b":end", b"since_ms"))


def test_each_has_an_entry_of_its_own_and_the_position_moves_once(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=5)))
    answers = calls.consume_many([2, 2, 2, 1])
    assert [answer[0] for answer in answers] == [Code.DONE, Code.DONE, Code.DENIED, Code.DONE]
    assert [answer[3] for answer in answers] == [1, 2, 2, 3]
    assert [entry_id for entry_id, _ in calls.log()] == [b"1-1", b"1-2", b"1-3"]
    assert calls.client.hget(keys.meta(calls.bucket), "seq") == b"3"
    assert calls.state()[b"hour.calendar:used"] == b"5"


def test_when_none_is_allowed_nothing_changes(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=5)))
    calls.consume(5)
    before = dump(calls.client)
    assert [answer[0] for answer in calls.consume_many([1, 2, 3])] == [0, 0, 0]
    assert dump(calls.client) == before


def test_one_that_is_too_large_is_refused_alone(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=None)))
    answers = calls.consume_many([2**53 - 1, 1, 0])
    assert [answer[0] for answer in answers] == [Code.DONE, Code.TOO_LARGE, Code.DONE]
    assert calls.state()[b"period:used"] == b"%d" % (2**53 - 1)


@pytest.mark.parametrize("bad", ["nan", "-1", "1.5", "", "9" * 17])
def test_one_bad_quantity_refuses_all_unseen(calls: Calls, bad: str) -> None:
    calls.entitle(
        entitlement(feature(limits=(limit(9, "day"),), overage="charge", price=per_unit("1")))
    )
    before = dump(calls.client)
    with pytest.raises(redis.ResponseError):
        calls.consume_many([1, bad, 1])  # type: ignore[list-item]
    assert dump(calls.client) == before


def test_more_than_64_are_refused(calls: Calls) -> None:
    calls.entitle(entitlement(feature()))
    assert len(calls.consume_many([1] * 64)) == 64
    with pytest.raises(redis.ResponseError):
        calls.consume_many([1] * 65)
