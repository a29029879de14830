from hypothesis import given
from hypothesis import strategies as st

from gateway.pricing.merging import merge

WORDS = st.sampled_from(["model", "tiers", "unit", "price", "limits", "included"])
SCALARS = st.sampled_from(["flat", "per_unit", "graduated", "1", "2"])
PLAIN = st.recursive(
    SCALARS | st.lists(SCALARS, max_size=2),
    lambda inner: st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
PLANS = st.dictionaries(WORDS, PLAIN, max_size=4)

TIERED = {"model": "graduated", "tiers": [{"unit": "1"}], "zero_flat": True}


def test_a_price_of_another_model_replaces_the_one_before():
    price = {"model": "per_unit", "unit": "2"}
    assert merge({"price": TIERED}, {"price": price}) == {"price": price}


def test_a_price_of_the_same_model_keeps_what_is_not_said_again():
    tiers = [{"unit": "3"}]
    merged = merge({"price": TIERED}, {"price": {"model": "graduated", "tiers": tiers}})
    assert merged == {"price": {**TIERED, "tiers": tiers}}
    assert merge({"price": TIERED}, {"price": {"tiers": tiers}}) == merged


def test_a_feature_called_model_is_merged_as_any_other():
    merged = merge(
        {"features": {"model": {"included": "1", "reset": "hour"}}},
        {"features": {"model": {"included": "2"}}},
    )
    assert merged == {"features": {"model": {"included": "2", "reset": "hour"}}}


@given(PLANS, PLANS)
def test_a_merge_says_what_the_changes_say_and_is_the_same_the_second_time(base, changes):
    once = merge(base, changes)
    assert merge(once, changes) == once
    assert once.keys() == base.keys() | changes.keys()
    for key, change in changes.items():
        if not isinstance(change, dict):
            assert once[key] == change


@given(PLANS)
def test_nothing_changes_where_nothing_is_said(base):
    assert merge(base, {}) == base
    assert merge({}, base) == base
