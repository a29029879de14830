"""A price is understood as a whole or refused with everything that is wrong with it."""

from decimal import Decimal
from typing import Any

import pytest

from gateway.pricing.price import Price, PriceInvalid, Tier

GRADUATED: dict[str, Any] = {
    "model": "graduated",
    "tiers": [{"up_to": "10", "unit": "10", "flat": "2"}, {"unit": "5", "flat": "3"}],
}
ALL: list[dict[str, Any]] = [
    {"model": "flat", "amount": "49"},
    {"model": "flat", "amount": "49", "always": True},
    {"model": "per_unit", "unit": "0.004"},
    {"model": "package", "size": "100", "amount": "5"},
    {"model": "package", "size": "100", "amount": "5", "round": "down"},
    GRADUATED,
    {**GRADUATED, "zero_flat": True},
    {**GRADUATED, "model": "volume"},
    {"model": "percentage", "rate": "2.9"},
    {"model": "percentage", "rate": "2.9", "fixed": "0.3", "free_quantity": "100", "free_events": "3",
     "min": "0.5", "max": "20"},
    {"model": "graduated_percentage", "tiers": [{"up_to": "1000", "rate": "2"}, {"rate": "1.5"}]},
]  # fmt: skip


@pytest.mark.parametrize("plain", ALL)
def test_every_model_survives_its_plain_form(plain: dict[str, Any]) -> None:
    price = Price.from_plain(plain)
    assert price.to_plain() == plain
    assert Price.from_plain(price.to_plain()) == price


def test_prices_have_different_ids_and_spellings_of_one_price_the_same() -> None:
    ids = {Price.from_plain(plain).id for plain in ALL}
    assert len(ids) == len(ALL)
    assert all(len(each) == 12 for each in ids)
    spelled = Price.from_plain({"model": "per_unit", "unit": "0.00400"})
    assert spelled.id == Price.from_plain({"unit": "0.004", "model": "per_unit"}).id
    assert spelled.id == Price(model="per_unit", unit=Decimal("0.0040")).id


def test_defaults_are_not_part_of_an_id() -> None:
    said = {"model": "package", "size": "100", "amount": "5", "round": "up"}
    assert Price.from_plain(said).id == Price.from_plain(ALL[3]).id
    zero = {"model": "graduated", "tiers": [{"unit": 1, "flat": "0.0"}], "zero_flat": False}
    assert Price.from_plain(zero).to_plain() == {"model": "graduated", "tiers": [{"unit": "1"}]}


def test_whole_numbers_may_be_integers_and_absent_ones_none() -> None:
    price = Price.from_plain({"model": "package", "size": 100, "amount": 5, "round": None})
    assert price == Price(model="package", size=Decimal(100), amount=Decimal(5))


@pytest.mark.parametrize(
    ("plain", "path", "code"),
    [
        ([], (), "wrong_type"),
        ({}, ("model",), "missing"),
        ({"model": "gradated"}, ("model",), "unknown_model"),
        ({"model": ["flat"]}, ("model",), "unknown_model"),
        ({"model": "flat"}, ("amount",), "missing"),
        ({"model": "flat", "amount": "1", "unit": "2"}, ("unit",), "unknown_name"),
        ({"model": "flat", "amount": "-1"}, ("amount",), "out_of_range"),
        ({"model": "flat", "amount": "1", "always": "yes"}, ("always",), "wrong_type"),
        ({"model": "per_unit", "unit": 0.5}, ("unit",), "not_a_number"),
        ({"model": "per_unit", "unit": True}, ("unit",), "not_a_number"),
        ({"model": "per_unit", "unit": "1e3"}, ("unit",), "not_a_number"),
        ({"model": "per_unit", "unit": Decimal("NaN")}, ("unit",), "not_a_number"),
        ({"model": "package", "size": "0", "amount": "1"}, ("size",), "out_of_range"),
        ({"model": "package", "size": "1", "amount": "1", "round": "near"}, ("round",), "invalid_value"),
        ({"model": "graduated"}, ("tiers",), "missing"),
        ({"model": "graduated", "tiers": {}}, ("tiers",), "wrong_type"),
        ({"model": "graduated", "tiers": []}, ("tiers",), "out_of_range"),
        ({"model": "graduated", "tiers": [{"unit": "1"}] * 101}, ("tiers",), "out_of_range"),
        ({"model": "graduated", "tiers": ["1"]}, ("tiers", 0), "wrong_type"),
        ({"model": "graduated", "tiers": [{}]}, ("tiers", 0), "missing"),
        ({"model": "graduated", "tiers": [{"rate": "1", "unit": "1"}]}, ("tiers", 0, "rate"), "unknown_name"),
        ({"model": "graduated", "tiers": [{"up_to": "5", "unit": "1"}]}, ("tiers", 0, "up_to"), "last_tier_ends"),
        ({"model": "volume", "tiers": [{"unit": "1"}, {"unit": "2"}]}, ("tiers", 0, "up_to"), "missing"),
        (
            {"model": "volume", "tiers": [{"up_to": "5", "unit": "1"}, {"up_to": "5.0", "unit": "1"}, {"unit": "2"}]},
            ("tiers", 1, "up_to"),
            "not_increasing",
        ),
        ({"model": "volume", "tiers": [{"up_to": "0", "unit": "1"}, {"unit": "2"}]}, ("tiers", 0, "up_to"), "not_increasing"),
        ({"model": "volume", "tiers": [{"unit": "-2"}]}, ("tiers", 0, "unit"), "out_of_range"),
        ({"model": "volume", "tiers": [{"unit": "1"}], "zero_flat": True}, ("zero_flat",), "unknown_name"),
        ({"model": "percentage", "rate": "1", "min": "2", "max": "1"}, ("min",), "out_of_range"),
        ({"model": "percentage", "rate": "1", "free_events": "1.5"}, ("free_events",), "invalid_value"),
        ({"model": "graduated_percentage", "tiers": [{"unit": "1"}]}, ("tiers", 0, "unit"), "unknown_name"),
    ],
)  # fmt: skip
def test_a_wrong_price_names_the_place_and_the_mistake(
    plain: Any, path: tuple[str | int, ...], code: str
) -> None:
    with pytest.raises(PriceInvalid) as refused:
        Price.from_plain(plain)
    assert (path, code) in [(problem.path, problem.code) for problem in refused.value.problems]


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(PriceInvalid) as refused:
        Price.from_plain(
            {
                "model": "volume",
                "teirs": 1,
                "tiers": [
                    {"up_to": "20,000", "unit": "1"},
                    {"up_to": "5", "unit": "-1", "falt": "1"},
                    {"unit": "1e6"},
                ],
            }
        )
    told = {problem.path: problem.message for problem in refused.value.problems}
    assert "write 20000" in told["tiers", 0, "up_to"]
    assert "not negative" in told["tiers", 1, "unit"]
    assert "did you mean flat?" in told["tiers", 1, "falt"]
    assert "write 1000000" in told["tiers", 2, "unit"]
    assert ("teirs",) in told


def test_a_price_made_in_python_is_checked_too() -> None:
    with pytest.raises(PriceInvalid, match="goes on without end"):
        Price(model="graduated", tiers=(Tier(up_to=Decimal(1), unit=Decimal(1)),))
