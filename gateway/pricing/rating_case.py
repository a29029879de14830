"""One line of `tallygate rate`: a JSON object that asks for a price, and the object that answers it."""

import json
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from typing import Any

from gateway.pricing.money import format_decimal, parse_decimal
from gateway.pricing.price import Price
from gateway.pricing.rating import rate

LINE_CHARACTERS_MAX = 4_000_000
_FIELDS = (
    "id",
    "price",
    "quantity",
    "already",
    "included",
    "currency",
    "events",
    "already_events",
)
_REQUIRED = ("price", "currency")


def rate_line(line: str) -> str:
    """Answer one line of JSON with one line of JSON; never raises."""
    try:
        if len(line) > LINE_CHARACTERS_MAX:
            raise ValueError(f"a line has at most {LINE_CHARACTERS_MAX} characters")
        # Numbers are read as text, as in the catalog: a binary float is never made of one.
        case = json.loads(line, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        answer: dict[str, Any] = {"error": f"not one JSON object: {error}"}
    else:
        answer = rate_case(case)
    return json.dumps(answer, ensure_ascii=False)


def rate_case(case: Any) -> dict[str, Any]:
    """Price one object; what cannot be priced is answered with its `id` and an `error`, never raised."""
    if not isinstance(case, Mapping):
        return {"error": "a case is a JSON object with price, quantity and currency"}
    answer: dict[str, Any] = {"id": case["id"]} if "id" in case else {}
    try:
        return answer | _rated(case)
    except (ValueError, ArithmeticError) as error:
        return answer | {"error": str(error)}


def _rated(case: Mapping[str, Any]) -> dict[str, Any]:
    _check_names(case)
    events = _events(case.get("events"))
    if case.get("quantity") is not None:
        quantity = Fraction(_number(case, "quantity"))
    elif isinstance(events, list):
        quantity = Fraction(sum(events, Fraction(0)))
    else:
        raise ValueError("quantity is missing")
    currency = case["currency"]
    if not isinstance(currency, str):
        raise ValueError("currency is a text like USD")
    charges = rate(
        Price.from_plain(case["price"]),
        quantity,
        currency=currency,
        already=_number(case, "already"),
        included=_number(case, "included"),
        events=events,
        already_events=_whole("already_events", _number(case, "already_events")),
    )
    return {
        "amount": str(charges.amount),
        "exact": format_decimal(charges.exact),
        "lines": [line.to_plain() for line in charges.lines],
    }


def _check_names(case: Mapping[str, Any]) -> None:
    for name in case:
        if name not in _FIELDS:
            close = get_close_matches(str(name), _FIELDS, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"{name} is not known here{hint}")
    for name in _REQUIRED:
        if case.get(name) is None:
            raise ValueError(f"{name} is missing")


def _number(case: Mapping[str, Any], name: str) -> Decimal:
    value = case.get(name)
    return Decimal(0) if value is None else _decimal(name, value)


def _decimal(name: str, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{name} is an exact number: decimal text or a whole number")
    try:
        return parse_decimal(str(value))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _whole(name: str, number: Decimal) -> int:
    if Fraction(number).denominator != 1:
        raise ValueError(f"{name} is a whole number")
    return int(number)


def _events(value: Any) -> int | list[Fraction] | None:
    if value is None:
        return None
    if isinstance(value, list):
        return [Fraction(_decimal("events", amount)) for amount in value]
    return _whole("events", _decimal("events", value))
