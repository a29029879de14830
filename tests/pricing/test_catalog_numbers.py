"""Numbers, spans and limits of a catalog are exact and fit, or are refused with the spelling to use."""

from typing import Any

import pytest

from gateway.pricing.catalog import load_catalog
from gateway.pricing.catalog_scalars import spelling
from tests.pricing.catalogs import API, charged, in_api, in_plan, only, problems_of, whole

TIER = {"up_to": "10", "unit": "1"}


@pytest.mark.parametrize(
    ("tiers", "place", "code"),
    [
        ([TIER, {"up_to": "10", "unit": "1"}, {"unit": "1"}], (1, "up_to"), "not_increasing"),
        ([TIER, {"up_to": "9.5", "unit": "1"}, {"unit": "1"}], (1, "up_to"), "not_increasing"),
        ([TIER], (0, "up_to"), "last_tier_ends"),
        ([{"unit": "1"}, {"unit": "2"}], (0,), "missing"),
        ([TIER, {}], (1,), "missing"),
        ([TIER, {"unit": "9000000.01"}], (1, "unit"), "too_large"),
        ([TIER, {"unit": "-1"}], (1, "unit"), "too_small"),
        ([TIER, {"unit": "1e6"}], (1, "unit"), "not_a_number"),
        ([], (), "out_of_range"),
    ],
)
def test_tiers_ascend_and_the_last_has_no_end(tiers: Any, place: Any, code: str) -> None:
    found = problems_of(charged(model="graduated", tiers=tiers))
    assert [(each.path, each.code) for each in found] == [((*API, "price", "tiers", *place), code)]


@pytest.mark.parametrize(
    ("data", "path", "code"),
    [
        (in_plan(price="9000000.01"), ("plans", "p", "price"), "too_large"),
        (in_plan(spend_cap="9000001"), ("plans", "p", "spend_cap"), "too_large"),
        (in_api(included="9007199254740992"), (*API, "included"), "too_large"),
        (in_api(included={"each": "9007199254740992"}), (*API, "included", "each"), "too_large"),
        (
            in_api(limits=[{"max": "9007199254740992", "every": "hour"}]),
            (*API, "limits", 0, "max"),
            "too_large",
        ),
        (in_api(included="1.5"), (*API, "included"), "too_fine"),
        (
            in_plan(features={"ai": {"included": "1.005"}}),
            ("plans", "p", "features", "ai", "included"),
            "too_fine",
        ),
        (
            in_plan(features={"ai": {"included": "90071992547409.92"}}),
            ("plans", "p", "features", "ai", "included"),
            "too_large",
        ),
        (
            whole(features={"ai": {"scale": "1", "weights": {"*": {"in": "0.25"}}}}),
            ("features", "ai", "weights", "*", "in"),
            "too_fine",
        ),
        (
            whole(credits={"coins": {"costs": {"api": "0.01"}}}),
            ("credits", "coins", "costs", "api"),
            "too_fine",
        ),
        (
            whole(routes=[{"match": "*", "feature": "ai", "cost": "0.001"}]),
            ("routes", 0, "cost"),
            "too_fine",
        ),
        (whole(features={"ai": {"scale": "16"}}, credits={}), ("features", "ai", "scale"), "too_large"),
        (whole(features={"ai": {"scale": "1.5"}}, credits={}), ("features", "ai", "scale"), "not_whole"),
        (in_api(included="-1"), (*API, "included"), "too_small"),
        (in_api(included="nan"), (*API, "included"), "wrong_type"),
        (in_api(included="0x10"), (*API, "included"), "not_a_number"),
        (in_api(included=1.5), (*API, "included"), "not_exact"),
        (charged(model="per_unit", unit="0.12345678901234567"), (*API, "price"), "price_not_enforceable"),
    ],
)  # fmt: skip
def test_numbers_must_be_exact_and_fit(data: Any, path: Any, code: str) -> None:
    found = [(problem.path, problem.code) for problem in problems_of(data)]
    assert (path, code) in found
    assert {place for place, _ in found} <= {path, ("credits", "coins", "costs", "ai")}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("20,000", "20000"),
        ("1,000,000.50", "1000000.5"),
        ("1e6", "1000000"),
        ("2.5E3", "2500"),
        ("$49", "49"),
        ("49 USD", "49"),
        ("49€", "49"),
        ("0,5", "0.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("+5", "5"),
        ("10 000", "10000"),
        ("10'000", "10000"),
        ("1e-3", "0.001"),
        ("1e99", None),
        ("many", None),
        ("0x10", None),
        ("", None),
    ],
)
def test_the_spelling_to_use_is_shown(written: str, meant: str | None) -> None:
    assert spelling(written) == meant


@pytest.mark.parametrize(
    ("said", "place", "code"),
    [
        ({"reset": "fortnight"}, "reset", "bad_span"),
        ({"reset": "0 hours"}, "reset", "bad_span"),
        ({"reset": "5"}, "reset", "bad_span"),
        ({"reset": "hours 5"}, "reset", "bad_span"),
        ({"reset": "24 hours"}, "reset", "span_does_not_fit"),
        ({"reset": "1500 minutes"}, "reset", "span_does_not_fit"),
        ({"reset": "36 hours", "align": "calendar"}, "align", "span_does_not_fit"),
        ({"reset": "month", "align": "first_use"}, "align", "span_does_not_fit"),
        ({"reset": "quarter", "align": "first_use"}, "align", "span_does_not_fit"),
        ({"reset": "period", "align": "first_use"}, "align", "span_does_not_fit"),
        ({"reset": "period", "align": "calendar"}, "align", "span_does_not_fit"),
        ({"reset": "never", "align": "calendar"}, "align", "span_does_not_fit"),
        ({"align": "calender"}, "align", "unknown_word"),
    ],
)
def test_spans_must_be_spans_and_fit_their_alignment(
    said: dict[str, str], place: str, code: str
) -> None:
    assert only(in_api(**said))[:2] == ((*API, place), code)


@pytest.mark.parametrize("reset", ["30 minutes", "36 hours", "2 days", "week"])
def test_first_use_takes_fixed_lengths(reset: str) -> None:
    load_catalog(in_api(reset=reset, align="first_use"))


@pytest.mark.parametrize(
    ("limit", "place", "code"),
    [
        ({"max": "1", "every": "month", "sliding": True}, "every", "span_does_not_fit"),
        ({"max": "1", "every": "hour", "sliding": True, "align": "anchor"}, "align", "not_for_sliding"),
        ({"max": "1", "every": "hour", "concurrent": True}, "every", "not_for_concurrent"),
        ({"max": "1", "every": "25 hours"}, "every", "span_does_not_fit"),
        ({"max": "1", "every": "hour", "name": "a b"}, "name", "bad_text"),
    ],
)  # fmt: skip
def test_words_of_a_limit_must_go_together(limit: Any, place: str, code: str) -> None:
    assert only(in_api(limits=[limit]))[:2] == ((*API, "limits", 0, place), code)


def test_two_windows_of_a_plan_may_not_share_a_name() -> None:
    twice = [{"max": "1", "every": "hour"}, {"max": "2", "every": "hour", "align": "anchor"}]
    assert only(in_api(limits=twice))[:2] == ((*API, "limits"), "limit_name_taken")
    own = [{"max": "1", "every": "hour", "name": "api.included"}]
    assert only(in_api(limits=own))[1] == "limit_name_taken"
