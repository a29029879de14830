"""The scripts equal `decide`, step by step, on random plans, histories and times, on the real server."""

from datetime import timedelta

import redis
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from gateway.balances import counts_of
from gateway.outcome import read_outcomes
from gateway.pricing.ask import ask
from gateway.pricing.decision import Outcome, decide
from gateway.pricing.entitlement import FeatureEntitlement
from gateway.pricing.price import Price
from gateway.pricing.window import Span
from lua.reply import Code
from lua.state import UsageState
from tests.lua.calls import Calls, entitlement, feature, limit

SPANS = ["minute", "hour", "5 hours", "day", "week", "month", "3 months", "year"]
FIXED = ["minute", "hour", "5 hours", "day"]
STEPS_MS = [0, 1, 999, 61_000, 3_600_000, 86_400_000, 32 * 86_400_000]

prices = st.one_of(
    st.integers(0, 10**7).map(
        lambda n: Price.from_plain({"model": "per_unit", "unit": f"0.{n:09d}"})
    ),
    st.tuples(st.integers(1, 20), st.integers(0, 999), st.integers(0, 999), st.integers(0, 9)).map(
        lambda t: Price.from_plain(
            {
                "model": "graduated",
                "tiers": [
                    {"up_to": str(t[0]), "unit": f"0.{t[1]:03d}", "flat": str(t[3])},
                    {"unit": f"0.{t[2]:03d}", "flat": "1"},
                ],
            }
        )
    ),
    st.tuples(st.integers(1, 20), st.integers(0, 999), st.integers(0, 999)).map(
        lambda t: Price.from_plain(
            {
                "model": "volume",
                "tiers": [{"up_to": str(t[0]), "unit": f"0.{t[1]:03d}"}, {"unit": f"0.{t[2]:03d}"}],
            }
        )
    ),
    st.tuples(st.integers(1, 9), st.sampled_from(["up", "down"])).map(
        lambda t: Price.from_plain(
            {"model": "package", "size": str(t[0]), "amount": "0.7", "round": t[1]}
        )
    ),
)


mostly = st.sampled_from([True, True, True, False])


@st.composite
def features(draw: st.DrawFn) -> FeatureEntitlement:
    limits = draw(
        st.lists(
            st.tuples(st.sampled_from(FIXED), st.integers(0, 12), st.booleans(), mostly),
            max_size=3,
        )
    )
    first_use = draw(st.booleans())
    overage = draw(st.sampled_from(["block", "charge", "allow"]))
    span = draw(st.sampled_from(FIXED if first_use else [*SPANS, "period", "never"]))
    anchored = span in ("month", "3 months", "year", "period", "never") or draw(st.booleans())
    align = "first_use" if first_use else "anchor" if anchored else "calendar"
    return feature(
        included=draw(st.none() | st.integers(0, 12)),
        reset=Span.parse(span),
        align=align,
        limits=tuple(
            limit(most, every, "anchor" if anchor else "calendar", enforce=enforce, name=f"l{i}")
            for i, (every, most, anchor, enforce) in enumerate(limits)
        ),
        overage=overage,
        price=draw(prices) if overage == "charge" else None,
        enforce=draw(mostly),
    )


steps = st.lists(
    st.tuples(
        st.sampled_from(["consume", "consume", "check", "track", "change"]),
        st.integers(0, 6),
        st.sampled_from(STEPS_MS),
    ),
    max_size=25,
)


@settings(
    max_examples=300,
    deadline=timedelta(seconds=20),
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(first=features(), second=features(), history=steps)
def test_every_script_answers_and_leaves_what_decide_says(
    redis_client: redis.Redis,
    first: FeatureEntitlement,
    second: FeatureEntitlement,
    history: list[tuple[str, int, int]],
) -> None:
    redis_client.flushall()
    calls = Calls(redis_client)
    calls.adopt()
    version = 1
    current = first
    calls.entitle(entitlement(current, version=version))
    for verb, quantity, step_ms in history:
        if step_ms:
            calls.move_to(calls.at_ms + step_ms)
        if verb == "change":
            version, current = version + 1, second if current is first else first
            calls.entitle(entitlement(current, version=version))
            continue
        before = calls.state()
        reply = calls.decide(verb, {"api_calls": quantity})
        assert calls.current is not None
        asked = ask(calls.current, current, reply.now_ms)
        counts = counts_of(asked, UsageState.parse(before), reply.now_ms)
        expected = decide(asked, counts, quantity, force=verb == "track")
        note(f"{verb} {quantity} at {reply.now_ms}: {reply.raw} expected {expected}")
        assert _comparable(read_outcomes(reply.raw)[0]) == _comparable(expected)
        assert (reply.code == Code.DENIED) == expected.denied
        if verb == "check" or expected.denied:
            assert calls.state() == before
            continue
        after = counts_of(asked, UsageState.parse(calls.state()), reply.now_ms)
        assert list(after.windows) == list(expected.windows)
        assert (after.segment_overage, after.segment_cost) == (
            expected.segment_overage,
            expected.segment_cost,
        )


def _comparable(outcome: Outcome) -> Outcome:
    return outcome._replace(windows=[tuple(window) for window in outcome.windows])
