"""The plain form of a price: which names each model has, and reading them, with every problem at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
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

REQUIRED: dict[str, tuple[str, ...]] = {
    "flat": ("amount",),
    "per_unit": ("unit",),
    "package": ("size", "amount"),
    "graduated": ("tiers",),
    "volume": ("tiers",),
    "percentage": ("rate",),
    "graduated_percentage": ("tiers",),
}
OPTIONAL: dict[str, tuple[str, ...]] = {
    "flat": ("always",),
    "per_unit": (),
    "package": ("round",),
    "graduated": ("zero_flat",),
    "volume": (),
    "percentage": ("fixed", "free_quantity", "free_events", "min", "max"),
    "graduated_percentage": ("zero_flat",),
}
_BOOLEANS = ("always", "zero_flat")


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


class PriceReader:
    """Reads one price and collects what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[PriceProblem] = []

    def price(self, plain: Any) -> dict[str, Any]:
        """The values by name: numbers as Decimal, tiers as mappings of them; what is no number left out."""
        if not isinstance(plain, Mapping):
            self._found((), "wrong_type", "a price is a mapping with a model")
            return {}
        model = plain.get("model")
        if model not in MODELS:
            said = "missing" if model is None else "unknown_model"
            known = f"model is one of {', '.join(MODELS)}{_near(model, MODELS)}"
            self._found(("model",), said, known)
            return {}
        required = ("model", *REQUIRED[model])
        fields = self._fields((), plain, required=required, optional=OPTIONAL[model])
        values = {name: self._value(name, value, model) for name, value in fields.items()}
        return {name: value for name, value in values.items() if value is not None}

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

    def _tiers(self, tiers: Any, model: str) -> list[dict[str, Decimal]]:
        if not isinstance(tiers, (list, tuple)):
            self._found(("tiers",), "wrong_type", "tiers is a list")
            return []
        return [self._tier(("tiers", number), tier, model) for number, tier in enumerate(tiers)]

    def _tier(self, path: Path, plain: Any, model: str) -> dict[str, Decimal]:
        each = tier_unit(model)
        if not isinstance(plain, Mapping):
            self._found(path, "wrong_type", f"a tier is a mapping with {each}, up_to and flat")
            return {}
        fields = self._fields(path, plain, required=(), optional=("up_to", each, "flat"))
        if each not in fields and "flat" not in fields:
            missing = f"a tier needs {each} or flat ({each}: 0 when it is free)"
            self._found(path, "missing", missing)
        numbers = {name: self._number((*path, name), value) for name, value in fields.items()}
        return {name: number for name, number in numbers.items() if number is not None}

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
        known = [each for each in (*required, *optional) if each not in given]
        for name in (name for name in given if name not in (*required, *optional)):
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
        self.problems.append(PriceProblem(path=path, code=code, message=message))


def tier_unit(model: str) -> Literal["unit", "rate"]:
    """What a tier of this model prices its part with."""
    return "rate" if model == "graduated_percentage" else "unit"


def _near(name: Any, known: Iterable[str]) -> str:
    close = get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
