"""What consume, check and track promise, on every engine."""

from itertools import product

import pytest
import redis

from gateway.pricing.window import Span, window_at
from lua import keys, load_all
from lua.reply import Code
from tests.lua.calls import DAY_MS, Calls, dump, entitlement, feature, limit, per_unit

HOUR_MS = 3_600_000


def next_boundary(at_ms: int, every: str = "hour") -> int:
    cut = window_at(
        Span.parse(every), "calendar", at_ms=at_ms, anchor_ms=0, zone="UTC", period=Span("month")
    )
    return cut.end_ms


def test_exactly_the_included_quantity_is_allowed(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=3)))
    assert [calls.consume().code for _ in range(5)] == [1, 1, 1, 0, 0]
    assert calls.state()[b"hour.calendar:used"] == b"3"
    assert len(calls.log()) == 3


def test_a_denial_says_why_and_changes_nothing(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=3)))
    calls.consume(3)
    before = dump(calls.client)
    reply = calls.consume(1)
    decision = reply.decisions[0]
    assert dump(calls.client) == before
    assert (decision.allowed, decision.reason, decision.http_status) == (
        False,
        "allowance_exhausted",
        429,
    )
    assert (decision.balance, decision.used, decision.limit) == (0, 3, 3)
    assert decision.resets_at_ms == next_boundary(reply.now_ms)
    assert decision.retry_after_ms == decision.resets_at_ms - reply.now_ms


def test_a_request_that_fails_one_of_two_limits_charges_neither(calls: Calls) -> None:
    calls.entitle(
        entitlement(feature(included=None, limits=(limit(100, "hour"), limit(150, "day"))))
    )
    assert calls.consume(100).code == Code.DONE
    before = dump(calls.client)
    assert calls.consume(1).decisions[0].reason == "limit_reached"
    assert dump(calls.client) == before
    calls.move_to(next_boundary(calls.server_ms()))
    if next_boundary(calls.at_ms, "day") - calls.at_ms == DAY_MS:
        pytest.skip("the hour that follows is another day")
    assert calls.consume(50).code == Code.DONE
    before = dump(calls.client)
    denied = calls.consume(1).decisions[0]
    assert denied.limit == 150, "the day's limit is the one in the way"
    assert dump(calls.client) == before


def test_check_says_what_consume_then_says_and_writes_nothing(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=5, limits=(limit(4, "minute"),))))
    for quantity in (1, 2, 3):
        before = dump(calls.client)
        checked = calls.check(quantity)
        assert dump(calls.client) == before
        consumed = calls.consume(quantity)
        assert checked.code == consumed.code
        assert checked.outcomes == consumed.outcomes


def test_the_next_window_opens_at_the_exact_boundary(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=2)))
    calls.consume(2)
    boundary_ms = next_boundary(calls.server_ms())
    calls.move_to(boundary_ms - 300)
    reply = calls.consume()
    if reply.now_ms < boundary_ms:
        assert reply.code == Code.DENIED
    calls.move_to(boundary_ms)
    reply = calls.consume()
    assert reply.code == Code.DONE
    assert reply.outcomes[0].windows[1].used == 1


def test_no_increment_moves_a_ttl(calls: Calls) -> None:
    calls.entitle(entitlement(feature()))
    calls.consume()
    key = keys.usage(calls.customer, "api_calls")
    expires = [calls.client.pttl(key) + calls.server_ms()]
    for _ in range(20):
        calls.consume()
    expires.append(calls.client.pttl(key) + calls.server_ms())
    assert abs(expires[1] - expires[0]) < 50, "the deadline is where it was"
    assert expires[0] > calls.server_ms() + 7 * DAY_MS - HOUR_MS


def test_the_same_key_twice_counts_once_and_answers_alike(calls: Calls) -> None:
    calls.entitle(entitlement(feature()))
    first = calls.consume(2, idempotency_key=b"k" * 16)
    before = dump(calls.client)
    again = calls.consume(2, idempotency_key=b"k" * 16)
    assert again.code == Code.REPLAYED
    numbers, _, shape = again.raw[4].decode().partition("|")
    assert [int(text) for text in numbers.split(",")] == first.raw
    assert shape == "1"
    assert dump(calls.client) == before


def test_the_same_key_with_another_payload_conflicts(calls: Calls) -> None:
    calls.entitle(entitlement(feature()))
    calls.consume(2, idempotency_key=b"k" * 16)
    before = dump(calls.client)
    reply = calls.consume(3, idempotency_key=b"k" * 16, fingerprint=b"g" * 16)
    assert reply.code == Code.KEY_CONFLICT
    assert dump(calls.client) == before


def test_a_denial_is_not_remembered(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=1)))
    assert calls.consume(2, idempotency_key=b"k" * 16).code == Code.DENIED
    calls.entitle(entitlement(feature(included=2), version=2))
    assert calls.consume(2, idempotency_key=b"k" * 16).code == Code.DONE


def test_overage_costs_what_its_tiers_say(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=10, overage="charge", price=per_unit("0.004"))))
    reply = calls.consume(12)
    outcome = reply.outcomes[0]
    assert (outcome.included, outcome.overage, outcome.cost) == (10, 2, 8_000_000)
    assert calls.consume(1).outcomes[0].segment_cost == 12_000_000


def test_track_records_beyond_the_limit_and_says_so(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=5)))
    reply = calls.track(8)
    outcome = reply.outcomes[0]
    assert (reply.code, outcome.included, outcome.beyond) == (Code.DONE, 5, 3)
    assert reply.decisions[0].reason == "recorded"
    assert calls.consume(1).code == Code.DENIED


def test_shadow_mode_allows_counts_and_says_what_would_have_been(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=1, enforce=False)))
    calls.consume()
    decision = calls.consume().decisions[0]
    assert (decision.allowed, decision.reason, decision.would) == (
        True,
        "observed",
        "allowance_exhausted",
    )
    assert calls.state()[b"hour.calendar:used"] == b"2"


def test_items_are_counted_together_or_not_at_all(calls: Calls) -> None:
    calls.entitle(entitlement(feature(), feature("ai", name="AI", included=1)))
    assert calls.decide("consume", {"api_calls": 1, "ai": 1}).code == Code.DONE
    before = dump(calls.client)
    reply = calls.decide("consume", {"api_calls": 1, "ai": 1})
    assert [one.reason for one in reply.decisions] == ["not_attempted", "allowance_exhausted"]
    assert dump(calls.client) == before


def test_a_new_price_opens_a_new_segment(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=0, overage="charge", price=per_unit("0.01"))))
    calls.consume(5)
    dearer = feature(included=0, overage="charge", price=per_unit("0.02"))
    calls.entitle(entitlement(dearer, version=2))
    reply = calls.consume(1)
    assert reply.outcomes[0].segment_overage == 1
    state = calls.state()
    assert (state[b"segment"], state[b"segment.1.overage"], state[b"segment.1.cost"]) == (
        b"2",
        b"5",
        b"50000000",
    )


@pytest.mark.parametrize("align", ["calendar", "first_use"])
def test_windows_of_every_alignment_count(calls: Calls, align: str) -> None:
    calls.entitle(entitlement(feature(included=2, reset=Span("hour", 5), align=align)))
    reply = calls.consume(2)
    assert calls.consume(1).code == Code.DENIED
    end_ms = reply.outcomes[0].windows[1].end_ms
    assert end_ms - reply.now_ms == 5 * HOUR_MS or align == "calendar"
    calls.move_to(end_ms)
    assert calls.consume(1).code == Code.DONE


def test_the_log_is_contiguous_and_adds_up_to_the_counter(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=100)))
    for quantity in (1, 5, 7):
        calls.consume(quantity)
    entries = calls.log()
    assert [entry_id for entry_id, _ in entries] == [b"1-1", b"1-2", b"1-3"]
    items = [fields[b"i"].decode().split(",") for _, fields in entries]
    assert [int(item[11]) for item in items] == [1, 6, 13]
    assert calls.state()[b"period:used"] == b"13"


@pytest.mark.parametrize("quantity", [2**53 - 1, 10**14, 123_456_789_012_345])
def test_numbers_at_the_edge_survive_the_round_trip(calls: Calls, quantity: int) -> None:
    calls.entitle(entitlement(feature(included=2**53 - 1)))
    reply = calls.consume(quantity)
    assert reply.outcomes[0].windows[1].used == quantity
    assert calls.state()[b"hour.calendar:used"] == b"%d" % quantity
    again = calls.consume(2**53 - 1 - quantity + 1)
    assert again.code in (Code.DENIED, Code.TOO_LARGE)
    assert calls.state()[b"hour.calendar:used"] == b"%d" % quantity


@pytest.mark.parametrize("bad", ["nan", "-1", "1e3", "0x10", " 5", "1.5", "", "9" * 17])
def test_a_number_that_is_not_natural_is_refused_unseen(calls: Calls, bad: str) -> None:
    calls.entitle(entitlement(feature()))
    calls.consume()
    before = dump(calls.client)
    with pytest.raises(redis.ResponseError):
        calls.consume(items=[*_shared(calls), bad])
    assert dump(calls.client) == before


def _shared(calls: Calls) -> list[bytes]:
    from gateway.entitlements import Holding

    assert calls.current is not None
    holding = Holding(calls.customer, 1, calls.current)
    prepared = holding.prepare(calls.current.features["api_calls"], calls.current, calls.at_ms)
    return list(prepared.shared)


def test_ids_with_braces_stay_in_their_bucket(engine: redis.Redis) -> None:
    for customer in ("a}b", "{x}", "}{", "a:b", "ü", "tg:{b0001}"):
        used = Calls(engine, customer)
        used.adopt()
        used.entitle(entitlement(feature(included=1), customer=customer))
        assert used.consume().code == Code.DONE
        assert used.consume().code == Code.DENIED
    tags = {key.split(b"{")[1].split(b"}")[0] for key in engine.scan_iter()}
    assert tags == {
        b"b%04d" % keys.bucket_of(c) for c in ("a}b", "{x}", "}{", "a:b", "ü", "tg:{b0001}")
    }


ALLOWED_IN_6_2 = {
    "INFO", "TIME", "HGET", "HMGET", "HSET", "HDEL", "HLEN", "HGETALL", "XADD", "XREVRANGE",
    "PEXPIREAT", "PEXPIRE", "PERSIST", "HKEYS",
}  # fmt: skip


def test_scripts_use_only_commands_and_forms_of_redis_6_2() -> None:
    for script in load_all():
        for call in script.source.split("redis.call(")[1:]:
            command = call.split('"')[1]
            assert command in ALLOWED_IN_6_2, f"{script.name}: {command}"
        for forbidden in ("cjson", "cmsgpack", "tostring", "#!lua", "redis.log", "bit."):
            assert forbidden not in script.source, f"{script.name}: {forbidden}"


def test_fences(calls: Calls) -> None:
    calls.entitle(entitlement(feature()))
    calls.consume()
    before = dump(calls.client)
    refusals = {
        Code.FENCED: [
            {"run_id": "other"},
            {"replid": "other"},
            {"acked_epoch": 2, "acked_seq": 0},
            {"acked_epoch": 1, "acked_seq": 2},
        ],
        Code.STALE_ENTITLEMENT: [{"version": 2}],
        Code.CLOCK_DIFFERS: [
            {"caller_ms": calls.server_ms() + 6_000},
            {"caller_ms": calls.server_ms() - 6_000},
        ],
        Code.STALE_WINDOWS: [
            {"valid_from_ms": calls.server_ms() + HOUR_MS, "at_ms": calls.at_ms},
            {"valid_until_ms": calls.server_ms() - 1, "at_ms": calls.at_ms},
        ],
        Code.CUSTOMER_UNKNOWN: [{"entitlement": keys.entitlement(calls.customer) + "x"}],
    }
    for code, wrongs in refusals.items():
        for wrong, verb in product(wrongs, ("consume", "check", "track")):
            assert calls.decide(verb, {"api_calls": 1}, **wrong).code == code, (verb, wrong)
    assert dump(calls.client) == before


def test_a_bucket_that_was_never_adopted_is_fenced(engine: redis.Redis) -> None:
    lone = Calls(engine)
    lone.entitle(entitlement(feature()))
    assert lone.consume().code == Code.FENCED


def test_a_clock_that_steps_back_does_not_reopen_a_window(calls: Calls) -> None:
    calls.entitle(entitlement(feature(included=1)))
    boundary_ms = next_boundary(calls.server_ms())
    calls.move_to(boundary_ms)
    assert calls.consume().code == Code.DONE
    calls.move_to(boundary_ms - 2_000)
    calls.at_ms = boundary_ms
    reply = calls.consume()
    assert reply.code == Code.DENIED
    assert reply.now_ms >= boundary_ms
    calls.move_to(boundary_ms - 120_000)
    calls.at_ms = boundary_ms
    assert calls.consume().code == Code.CLOCK_STEPPED_BACK


def test_an_older_entitlement_is_never_put_in_force(calls: Calls) -> None:
    assert calls.entitle(entitlement(feature(), version=5)) == 1
    before = dump(calls.client)
    for version in (4, 5):
        assert calls.entitle(entitlement(feature(included=9), version=version)) == 0
    assert dump(calls.client) == before


def test_the_newest_replaced_entitlements_are_kept(calls: Calls) -> None:
    for version in range(1, 80):
        calls.entitle(entitlement(feature(), version=version))
    kept = calls.client.hkeys(keys.past_entitlements(calls.customer))
    assert sorted(map(int, kept)) == list(range(79 - 64, 79))
