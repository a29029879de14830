"""The simple kinds of value a catalog is made of: text, numbers, words, spans.

Each kind reads plain data, says what is wrong with it, returns it normalised (numbers as exact text, spans
spelled one way), and describes itself as JSON Schema for editors.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from gateway.pricing.catalog_problem import Path, Problems, closest, kind_of
from gateway.pricing.money import parse_decimal
from gateway.pricing.window import Span

INVALID = object()
"""What a kind returns for a value it has reported."""

NUMBER_LENGTH_MAX = 40
"""Digits a number in a catalog may have."""
TEXT_LENGTH_MAX = 500


class Kind(Protocol):
    """One kind of value."""

    @property
    def wants(self) -> str:
        """The kind in words, after "must be"."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        """The value, normalised, or INVALID once its problem is reported."""

    def schema(self) -> dict[str, Any]:
        """The kind as JSON Schema."""


def wrong_type(kind: Kind, value: Any, path: Path, problems: Problems) -> Any:
    problems.add(path, "wrong_type", f"must be {kind.wants}, not {kind_of(value)}.")
    return INVALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Words for people, or text with a pattern of its own."""

    wants: str = "text"
    pattern: re.Pattern[str] | None = None

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            return wrong_type(self, value, path, problems)
        if not value.strip() or len(value) > TEXT_LENGTH_MAX or not value.isprintable():
            problems.add(path, "bad_text", f"must be 1 to {TEXT_LENGTH_MAX} printable characters.")
            return INVALID
        if self.pattern is not None and not self.pattern.fullmatch(value):
            problems.add(path, "bad_text", f"must be {self.wants}, not {value!r}.")
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        if self.pattern is None:
            return {"type": "string", "minLength": 1}
        return {"type": "string", "pattern": f"^({self.pattern.pattern})$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """true or false."""

    wants: str = "true or false"

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, bool):
            return value
        words = {"yes": "true", "on": "true", "no": "false", "off": "false"}
        meant = words.get(str(value).lower()) or closest(str(value), ("true", "false"))
        problems.add(path, "wrong_type", f"must be {self.wants}, not {kind_of(value)}.", meant)
        return INVALID

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number of zero or more, kept as the exact text of it."""

    wants: str = "a number"
    most: Decimal | None = None
    above_zero: bool = False
    whole: bool = False

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, float):
            problems.add(
                path, "not_exact", "is a binary fraction, which is not exact; write it as text.",
                f'"{value!r}"',
            )  # fmt: skip
            return INVALID
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            return wrong_type(self, value, path, problems)
        number = _exact(value)
        if number is None:
            problems.add(
                path, "not_a_number", f"must be {self.wants}, not {str(value)!r}.",
                spelling(str(value)),
            )  # fmt: skip
            return INVALID
        return self._within(number, path, problems)

    def _within(self, number: Decimal, path: Path, problems: Problems) -> Any:
        shown = number_text(number)
        if number < 0 or (self.above_zero and number == 0):
            least = "more than 0" if self.above_zero else "0 or more"
            problems.add(path, "too_small", f"must be {least}, not {shown}.")
        elif self.most is not None and number > self.most:
            problems.add(path, "too_large", f"must be at most {self.most:,}, not {shown}.")
        elif self.whole and number != number.to_integral_value():
            problems.add(path, "not_whole", f"must be a whole number, not {shown}.")
        else:
            return shown
        return INVALID

    def schema(self) -> dict[str, Any]:
        least = {"exclusiveMinimum": 0} if self.above_zero else {"minimum": 0}
        most = {} if self.most is None else {"maximum": int(self.most)}
        as_number = {"type": "integer" if self.whole else "number", **least, **most}
        fraction = "" if self.whole else r"(\.[0-9]+)?"
        return {"anyOf": [as_number, {"type": "string", "pattern": rf"^[0-9][0-9_]*{fraction}$"}]}


def _exact(value: str | int | Decimal) -> Decimal | None:
    if isinstance(value, Decimal):
        value = format(value, "f")
    text = str(value)
    if len(text) > NUMBER_LENGTH_MAX:
        return None
    try:
        return parse_decimal(text, underscores=True)
    except ValueError:
        return None


def number_text(number: Decimal) -> str:
    """The one spelling of a number: no exponent, no closing zeros."""
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def spelling(text: str) -> str | None:
    """How to write a number that people write otherwise, or None when it is not clear what is meant."""
    bare = re.sub(r"^[$€£¥+]\s*|\s*([$€£¥%]|[A-Z]{3})$", "", text.strip())
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", bare):
        bare = bare.replace(",", "")
    elif re.fullmatch(r"-?\d+,\d+", bare):
        bare = bare.replace(",", ".")
    elif re.fullmatch(r"\d{1,3}([ '\u00a0\u202f]\d{3})+(\.\d+)?", bare):
        bare = re.sub(r"[^\d.]", "", bare)
    if not re.fullmatch(r"-?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", bare):
        return None
    try:
        meant = number_text(Decimal(bare))
    except InvalidOperation:
        return None
    return meant if len(meant) <= NUMBER_LENGTH_MAX and meant != text else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]
    also: Mapping[str, str] = field(default_factory=dict)
    """Words used elsewhere, and ours for them; only suggested."""

    @property
    def wants(self) -> str:
        return " or ".join((", ".join(self.words[:-1]), self.words[-1])).removeprefix(" or ")

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, str) and value in self.words:
            return value
        if not isinstance(value, str):
            return wrong_type(self, value, path, problems)
        meant = closest(value, self.words, self.also)
        problems.add(path, "unknown_word", f"must be {self.wants}, not {value!r}.", meant)
        return INVALID

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """A span of time, kept in its one spelling."""

    wants: str = "a span such as hour, 5 hours or month"
    open_ended: bool = False
    """Whether `period` and `never` are meant too."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, str):
            return wrong_type(self, value, path, problems)
        try:
            span = Span.parse(value)
        except ValueError as error:
            meant = closest(value, ("second", "minute", "hour", "day", "week", "month", "year"))
            problems.add(path, "bad_span", f"{error}.", meant)
            return INVALID
        if span.unit in ("period", "never") and not self.open_ended:
            problems.add(path, "bad_span", f"must be {self.wants}, not {span}.")
            return INVALID
        return str(span)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "examples": ["hour", "5 hours", "day", "month", "year"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Percent:
    """A share such as 80%, kept as text."""

    wants: str = "a percentage such as 80%"

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        text = value if isinstance(value, str) else ""
        if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?%", text) and 0 < Decimal(text[:-1]) <= 1000:
            return number_text(Decimal(text[:-1])) + "%"
        meant = f"{text}%" if re.fullmatch(r"[0-9]{1,3}", text) else None
        problems.add(path, "bad_percentage", f"must be {self.wants}, not {kind_of(value)}.", meant)
        return INVALID

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3})?%$"}
