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
from lua.reply import Code
from lua.state import UsageState
from tests.lua.calls import Calls, entitlement
from tests.lua.features import features

STEPS_MS = [0, 1, 999, 61_000, 3_600_000, 86_400_000, 32 * 86_400_000]

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
