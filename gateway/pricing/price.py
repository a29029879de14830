"""Prices: what the catalog says a quantity costs, exactly. `rating.py` does the arithmetic."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any, Literal

from gateway.pricing.money import format_decimal
from gateway.pricing.price_reading import (
    MODELS,
    OPTIONAL,
    REQUIRED,
    TIERED,
    TIERS_MAX,
    Model,
    Path,
    PriceInvalid,
    PriceProblem,
    PriceReader,
    tier_unit,
)

__all__ = [
    "MODELS",
    "TIERED",
    "TIERS_MAX",
    "Model",
    "Path",
    "Price",
    "PriceInvalid",
    "PriceProblem",
    "Tier",
]

_ZERO = Decimal(0)


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
        reader = PriceReader()
        values = reader.price(plain)
        if "tiers" in values:
            values["tiers"] = tuple(Tier(**tier) for tier in values["tiers"])
        if not reader.problems:
            return cls(**values)
        raise PriceInvalid([*reader.problems, *_problems_past(reader.problems, values)])

    def to_plain(self) -> dict[str, Any]:
        """The canonical plain form: what the model uses and is not a default, numbers as shortest text."""
        plain: dict[str, Any] = {"model": self.model}
        for name in (*REQUIRED[self.model], *OPTIONAL[self.model]):
            value = getattr(self, name)
            if name == "tiers":
                plain["tiers"] = [self._plain_tier(tier) for tier in self.tiers]
            elif name in REQUIRED[self.model] or value != _default(name):
                plain[name] = format_decimal(value) if isinstance(value, Decimal) else value
        if self.free_events:
            plain["free_events"] = str(self.free_events)
        return plain

    def _plain_tier(self, tier: Tier) -> dict[str, str]:
        each = tier_unit(self.model)
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


def _problems_past(told: list[PriceProblem], values: dict[str, Any]) -> list[PriceProblem]:
    """What is wrong between the numbers that could be read, where nothing was told yet."""
    if "model" not in values or (values["model"] in TIERED and not values.get("tiers")):
        return []
    paths = {problem.path for problem in told}
    try:
        Price(**values)
    except PriceInvalid as invalid:
        return [problem for problem in invalid.problems if problem.path not in paths]
    return []


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


def _check_tiers(tiers: tuple[Tier, ...], found: Callable[[Path, str, str], None]) -> None:
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
