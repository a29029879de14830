"""The usual answer, filled in, is byte for byte the one that is made from a Decision."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codec import to_wire
from gateway.outcome import read_outcomes
from gateway.pricing.ask import Ask, ask
from gateway.pricing.decision import Counts, WindowCount, decide, describe
from gateway.pricing.entitlement import FeatureEntitlement
from gateway.rendering import Rendering
from tests.lua.calls import entitlement, feature, limit, per_unit
from tests.lua.features import features

AT_MS = 1_795_000_000_123


def numbers_of(asked: Ask, used: int, segment_overage: int, quantity: int) -> list[int] | None:
    """What the script would return when it allows; None when it denies."""
    ends = [w.end_ms or AT_MS + w.length_ms for w in asked.windows]
    counts = Counts(
        windows=[WindowCount(used, end_ms) for end_ms in ends], segment_overage=segment_overage
    )
    outcome = decide(asked, counts, quantity)
    if outcome.denied:
        return None
    numbers = [1, AT_MS, 3, 77, 1, 0, *outcome[1:8], len(outcome.windows)]
    return [*numbers, *(number for window in outcome.windows for number in window)]


def made_the_long_way(asked: Ask, numbers: list[int], decision_id: str | None) -> bytes:
    outcome = read_outcomes(numbers)[0]
    decision = describe(asked, outcome, at_ms=AT_MS, decision_id=decision_id)
    return msgspec.json.encode(to_wire(decision))


@settings(max_examples=500, deadline=None)
@given(features(), st.integers(0, 20), st.integers(0, 20), st.integers(0, 9), st.booleans())
def test_the_same_bytes(
    one: FeatureEntitlement, used: int, segment_overage: int, quantity: int, check: bool
) -> None:
    asked = ask(entitlement(one, customer='ac"me ü'), one, AT_MS)
    numbers = numbers_of(asked, used, segment_overage, quantity)
    rendering = Rendering.of(asked)
    if numbers is None or rendering is None:
        return
    decision_id = None if check else "0042-3-77"
    rendered = rendering.render(numbers, decision_id)
    if rendered is not None:
        assert rendered.body == made_the_long_way(asked, numbers, decision_id)
        assert f'"reason":"{rendered.reason}"'.encode() in rendered.body


def test_the_usual_plan_is_rendered() -> None:
    one = feature(
        name='Calls "quoted"',
        included=2_000,
        limits=(limit(1_000_000, "day"),),
        overage="charge",
        price=per_unit("0.004"),
    )
    asked = ask(entitlement(one), one, AT_MS)
    rendering = Rendering.of(asked)
    assert rendering is not None
    for used in (0, 1_999, 2_000, 5_000):
        numbers = numbers_of(asked, used, max(0, used - 2_000), 3)
        assert numbers is not None
        rendered = rendering.render(numbers, "0042-3-77")
        assert rendered is not None
        assert rendered.body == made_the_long_way(asked, numbers, "0042-3-77")


def test_what_is_less_usual_takes_the_long_way() -> None:
    shadow = feature(included=None, limits=(limit(5, "day", enforce=False),))
    asked = ask(entitlement(shadow), shadow, AT_MS)
    rendering = Rendering.of(asked)
    assert rendering is not None
    assert rendering.render(numbers_of(asked, 9, 0, 1) or [], None) is None
    scaled = feature(scale=6)
    assert Rendering.of(ask(entitlement(scaled), scaled, AT_MS)) is None
