"""One JSON object in, one out: what `tallygate rate` answers."""

import json
from typing import Any

import pytest

from gateway.pricing.rating_case import rate_case, rate_line
from tests.pricing.prices import (
    GRADUATED,
    PER_UNIT,
    PERCENT,
    TIERS,
)


def test_a_case_is_answered_in_the_shape_of_the_contract() -> None:
    case = {"id": "any", "price": {**GRADUATED, "tiers": [TIERS[0], {"unit": "5", "flat": "3"}]},
            "quantity": "12", "already": "0", "included": "0", "currency": "USD"}  # fmt: skip
    assert rate_case(case) == {
        "id": "any",
        "amount": "115.00",
        "exact": "115",
        "lines": [
            {"tier": 1, "quantity": "10", "unit": "10", "flat": "2", "amount": "102"},
            {"tier": 2, "quantity": "2", "unit": "5", "flat": "3", "amount": "13"},
        ],
    }


def test_a_case_rounds_once_to_the_currency() -> None:
    case = {"price": {"model": "per_unit", "unit": "0.005"}, "quantity": 1}
    amounts = {
        each: rate_case({**case, "currency": each})["amount"] for each in ("USD", "JPY", "KWD")
    }
    assert amounts == {"USD": "0.01", "JPY": "0", "KWD": "0.005"}


def test_numbers_of_a_line_are_read_as_text() -> None:
    line = (
        '{"id": 7, "price": {"model": "per_unit", "unit": 0.1}, "quantity": 0.3, "currency": "USD"}'
    )
    assert json.loads(rate_line(line)) == {
        "id": 7,
        "amount": "0.03",
        "exact": "0.03",
        "lines": [{"tier": 1, "quantity": "0.3", "unit": "0.1", "flat": "0", "amount": "0.03"}],
    }


def test_a_listed_event_needs_no_quantity_beside_it() -> None:
    case = {"price": PERCENT, "events": ["900", 100], "currency": "USD"}
    assert rate_case(case)["exact"] == "29.6"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"price": None}, "price is missing"),
        ({"currency": None}, "currency is missing"),
        ({"currency": "USX"}, "is not a currency"),
        ({"currency": 5}, "text like USD"),
        ({"quantity": None}, "quantity is missing"),
        ({"quantity": "-1"}, "not negative"),
        ({"quantity": "NaN"}, "not a decimal number"),
        ({"quantity": True}, "exact number"),
        ({"quantity": 1.5}, "exact number"),
        ({"quantity": ["1"]}, "exact number"),
        ({"quantity": "9" * 41}, "at most 40"),
        ({"already": "x"}, "already: 'x'"),
        ({"already_events": "0.5"}, "whole number"),
        ({"events": 1}, "belong to a percentage"),
        ({"quanttiy": "1"}, "did you mean quantity?"),
        ({"price": {"model": "per_unit"}}, "unit is missing"),
        ({"price": "free"}, "mapping"),
    ],
)
def test_a_case_that_cannot_be_priced_says_why(change: dict[str, Any], said: str) -> None:
    case = {"id": 1, "price": PER_UNIT, "quantity": "1", "currency": "USD", **change}
    answer = rate_case(case)
    assert answer.keys() == {"id", "error"}
    assert said in answer["error"]


@pytest.mark.parametrize(
    "line", ["", "3", "[]", "{", '"x"', "[" * 100_000, '{"quantity": NaN}', '{"quantity": 1' + "0" * 5000 + "}"]
)  # fmt: skip
def test_a_line_that_is_no_case_is_answered_with_an_error(line: str) -> None:
    assert "error" in json.loads(rate_line(line))
