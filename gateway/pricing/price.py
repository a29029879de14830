"""Prices: what the catalog says a quantity costs, exactly. `rating.py` does the arithmetic."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from hashlib import sha256
from typing import Any, Literal, get_args

from gateway.pricing.money import format_decimal, parse_decimal

Model = Literal[
    "flat",
    "per_unit",
    "package",
    "graduated",
    "volume",
    "percentage",
    "graduated_percentage",
]
Path = tuple[str | int, ...]

MODELS: tuple[Model, ...] = get_args(Model)
TIERED = ("graduated", "volume", "graduated_percentage")
TIERS_MAX = 100
"""Tiers of one price."""

_REQUIRED: dict[str, tuple[str, ...]] = {
    "flat": ("amount",),
    "per_unit": ("unit",),
    "package": ("size", "amount"),
    "graduated": ("tiers",),
    "volume": ("tiers",),
    "percentage": ("rate",),
    "graduated_percentage": ("tiers",),
}
_OPTIONAL: dict[str, tuple[str, ...]] = {
    "flat": ("always",),
    "per_unit": (),
    "package": ("round",),
    "graduated": ("zero_flat",),
    "volume": (),
    "percentage": ("fixed", "free_quantity", "free_events", "min", "max"),
    "graduated_percentage": ("zero_flat",),
}
_BOOLEANS = ("always", "zero_flat")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceProblem:
    """One thing wrong with a price: where in it, and what to do."""

    path: Path
    code: str
    message: str


class PriceInvalid(ValueError):
    """The price cannot be understood; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: list[PriceProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A stretch of the quantity up to and with `up_to` (None: without end) under one price.

    `unit` is money per unit of quantity, `flat` is owed once the tier is entered, `rate` is a percentage
    (in `graduated_percentage`, where it stands in place of `unit`).
    """

    up_to: Decimal | None = None
    unit: Decimal = _ZERO
    flat: Decimal = _ZERO
    rate: Decimal = _ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Money for a quantity, by one of seven models. Every number is exact and not negative.

    Fields that the model does not use keep their defaults. Raises PriceInvalid.
    """

    model: Model
    amount: Decimal = _ZERO
    always: bool = False
    unit: Decimal = _ZERO
    size: Decimal = Decimal(1)
    round: Literal["up", "down"] = "up"
    tiers: tuple[Tier, ...] = ()
    zero_flat: bool = False
    rate: Decimal = _ZERO
    fixed: Decimal = _ZERO
    free_quantity: Decimal = _ZERO
    free_events: int = 0
    min: Decimal | None = None
    max: Decimal | None = None

    def __post_init__(self) -> None:
        if problems := _problems(self):
            raise PriceInvalid(problems)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Price":
        """Read a price whose numbers are decimal text or integers; raises PriceInvalid with all problems."""
        return _Reader().price(plain)

    def to_plain(self) -> dict[str, Any]:
        """The canonical plain form: what the model uses and is not a default, numbers as shortest text."""
        plain: dict[str, Any] = {"model": self.model}
        for name in (*_REQUIRED[self.model], *_OPTIONAL[self.model]):
            value = getattr(self, name)
            if name == "tiers":
                plain["tiers"] = [self._plain_tier(tier) for tier in self.tiers]
            elif name in _REQUIRED[self.model] or value != _default(name):
                plain[name] = format_decimal(value) if isinstance(value, Decimal) else value
        if self.free_events:
            plain["free_events"] = str(self.free_events)
        return plain

    def _plain_tier(self, tier: Tier) -> dict[str, str]:
        each = _unit_name(self.model)
        plain = {
            "up_to": tier.up_to,
            each: getattr(tier, each),
            "flat": tier.flat or None,
        }
        return {name: format_decimal(value) for name, value in plain.items() if value is not None}

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that two prices share only when they are the same price."""
        canonical = json.dumps(self.to_plain(), sort_keys=True, separators=(",", ":"))
        return sha256(canonical.encode()).hexdigest()[:12]


def _default(name: str) -> Any:
    return Price.__dataclass_fields__[name].default


def _unit_name(model: str) -> Literal["unit", "rate"]:
    """What a tier of this model prices its part with."""
    return "rate" if model == "graduated_percentage" else "unit"


def _problems(price: Price) -> list[PriceProblem]:
    """What is wrong with the numbers of a price, each taken alone being a number."""
    problems: list[PriceProblem] = []

    def found(path: Path, code: str, message: str) -> None:
        problems.append(PriceProblem(path=path, code=code, message=message))

    for name in (
        "amount",
        "unit",
        "size",
        "rate",
        "fixed",
        "free_quantity",
        "free_events",
        "min",
        "max",
    ):
        value = getattr(price, name)
        if value is not None and value < 0:
            found((name,), "out_of_range", f"{name} is not negative")
    if price.size == 0:
        found(("size",), "out_of_range", "size is more than 0")
    if price.min is not None and price.max is not None and price.min > price.max:
        found(("min",), "out_of_range", "min is not more than max")
    if price.model in TIERED:
        _check_tiers(price.tiers, found)
    return problems


def _check_tiers(tiers: tuple[Tier, ...], found: Any) -> None:
    if not 1 <= len(tiers) <= TIERS_MAX:
        found(
            ("tiers",),
            "out_of_range",
            f"a price has 1 to {TIERS_MAX} tiers, not {len(tiers)}",
        )
    before = _ZERO
    for number, tier in enumerate(tiers):
        for name in ("unit", "flat", "rate"):
            if getattr(tier, name) < 0:
                found(("tiers", number, name), "out_of_range", f"{name} is not negative")
        where: Path = ("tiers", number, "up_to")
        if number == len(tiers) - 1:
            if tier.up_to is not None:
                found(
                    where,
                    "last_tier_ends",
                    "the last tier has no up_to: it goes on without end",
                )
        elif tier.up_to is None:
            found(where, "missing", "every tier but the last says up_to where it ends")
        elif tier.up_to <= before:
            found(
                where,
                "not_increasing",
                f"up_to grows from tier to tier: more than {before}",
            )
        else:
            before = tier.up_to


class _Reader:
    """Reads one price and collects what is wrong with it."""

    def __init__(self) -> None:
        self._problems: list[PriceProblem] = []

    def price(self, plain: Mapping[str, Any]) -> Price:
        if not isinstance(plain, Mapping):
            self._found((), "wrong_type", "a price is a mapping with a model")
            raise PriceInvalid(self._problems)
        model = plain.get("model")
        if model not in MODELS:
            said = "missing" if model is None else "unknown_model"
            self._found(
                ("model",),
                said,
                f"model is one of {', '.join(MODELS)}{_near(model, MODELS)}",
            )
            raise PriceInvalid(self._problems)
        required = _REQUIRED[model]
        fields = self._fields((), plain, required=("model", *required), optional=_OPTIONAL[model])
        values = {name: self._value(name, value, model) for name, value in fields.items()}
        if self._problems:
            # Problems between numbers are told too, as far as they can be seen past the others.
            raise PriceInvalid([*self._problems, *self._beyond(values)])
        return Price(**values)

    def _beyond(self, values: dict[str, Any]) -> list[PriceProblem]:
        known = {name: value for name, value in values.items() if value is not None}
        if known.get("model") in TIERED and not known.get("tiers"):
            return []
        told = {problem.path for problem in self._problems}
        try:
            Price(**known)
        except PriceInvalid as invalid:
            return [problem for problem in invalid.problems if problem.path not in told]
        return []

    def _value(self, name: str, value: Any, model: str) -> Any:
        if name == "model":
            return value
        if name == "tiers":
            return self._tiers(value, model)
        if name in _BOOLEANS:
            if not isinstance(value, bool):
                self._found((name,), "wrong_type", f"{name} is true or false")
            return value
        if name == "round":
            if value not in ("up", "down"):
                self._found((name,), "invalid_value", "round is up or down")
            return value
        number = self._number((name,), value)
        if name == "free_events" and number is not None:
            if number != number.to_integral_value():
                self._found((name,), "invalid_value", "free_events is a whole number")
            return int(number)
        return number

    def _tiers(self, tiers: Any, model: str) -> tuple[Tier, ...]:
        if not isinstance(tiers, (list, tuple)):
            self._found(("tiers",), "wrong_type", "tiers is a list")
            return ()
        return tuple(
            self._tier(("tiers", number), tier, model) for number, tier in enumerate(tiers)
        )

    def _tier(self, path: Path, plain: Any, model: str) -> Tier:
        each = _unit_name(model)
        if not isinstance(plain, Mapping):
            self._found(
                path,
                "wrong_type",
                f"a tier is a mapping with {each}, and up_to unless it is the last",
            )
            return Tier()
        fields = self._fields(path, plain, required=(), optional=("up_to", each, "flat"))
        if each not in fields and "flat" not in fields:
            self._found(
                path,
                "missing",
                f"a tier needs {each} or flat ({each}: 0 when it is free)",
            )
        tier = Tier()
        for name, value in fields.items():
            number = self._number((*path, name), value)
            tier = tier if number is None else replace(tier, **{name: number})
        return tier

    def _fields(
        self,
        path: Path,
        plain: Mapping[str, Any],
        *,
        required: tuple[str, ...],
        optional: tuple[str, ...],
    ) -> dict[str, Any]:
        """What is given and known; None counts as not given."""
        given = {name: value for name, value in plain.items() if value is not None}
        for name in given.keys() - {*required, *optional}:
            known = [each for each in (*required, *optional) if each not in given]
            self._found(
                (*path, name),
                "unknown_name",
                f"{name} is not known here{_near(name, known)}",
            )
        for name in required:
            if name not in given:
                self._found((*path, name), "missing", f"{name} is missing")
        return {name: given[name] for name in (*required, *optional) if name in given}

    def _number(self, path: Path, value: Any) -> Decimal | None:
        if isinstance(value, Decimal):
            value = format_decimal(value) if value.is_finite() else str(value)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            self._found(
                path,
                "not_a_number",
                f"{path[-1]} is a number, exact: as text or a whole number",
            )
            return None
        try:
            return parse_decimal(str(value))
        except ValueError as error:
            self._found(path, "not_a_number", f"{path[-1]}: {error}")
            return None

    def _found(self, path: Path, code: str, message: str) -> None:
        self._problems.append(PriceProblem(path=path, code=code, message=message))


def _near(name: Any, known: Any) -> str:
    close = get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
