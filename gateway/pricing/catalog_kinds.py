"""The kinds of value a catalog is made of.

Each kind reads plain data, says what is wrong with it, returns it normalised (numbers as exact text, spans
spelled one way), and describes itself as JSON Schema for editors.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from gateway.pricing.catalog_problem import Path, Problems, closest, kind_of
from gateway.pricing.money import parse_decimal
from gateway.pricing.window import Span

INVALID = object()
"""What a kind returns for a value it has reported."""

ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
NUMBER_LENGTH_MAX = 40
"""Digits a number in a catalog may have."""
TEXT_LENGTH_MAX = 500
ENTRIES_MAX = 1000
"""How many features, plans, routes … one catalog may have of each."""


class Kind(Protocol):
    """One kind of value."""

    @property
    def wants(self) -> str:
        """The kind in words, after "must be"."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        """The value, normalised, or INVALID once its problem is reported."""

    def schema(self) -> dict[str, Any]:
        """The kind as JSON Schema."""


def _wrong_type(kind: Kind, value: Any, path: Path, problems: Problems) -> Any:
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
            return _wrong_type(self, value, path, problems)
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
            return _wrong_type(self, value, path, problems)
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
            return _wrong_type(self, value, path, problems)
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
            return _wrong_type(self, value, path, problems)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list."""

    of: Kind
    wants: str = "a list"
    most: int = ENTRIES_MAX

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, list | tuple):
            return _wrong_type(self, value, path, problems)
        if len(value) > self.most:
            problems.add(path, "too_many", f"has {len(value)} entries; at most {self.most}.")
            return INVALID
        read = [self.of.read(item, (*path, place), problems) for place, item in enumerate(value)]
        return [item for item in read if item is not INVALID]

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.of.schema(), "maxItems": self.most}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A map from names that the catalog chooses to values of one kind."""

    of: Kind
    wants: str = "a map of names"
    name: re.Pattern[str] = ID
    name_is: str = "small letters, digits and _, a letter first, at most 64"
    most: int = ENTRIES_MAX

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, Mapping):
            return _wrong_type(self, value, path, problems)
        if len(value) > self.most:
            problems.add(path, "too_many", f"has {len(value)} entries; at most {self.most}.")
            return INVALID
        known = {}
        for name, item in value.items():
            here = (*path, str(name))
            if not isinstance(name, str) or not self.name.fullmatch(name):
                message = f"{name!r} is not an id: {self.name_is}."
                problems.add(here, "bad_id", message, self._proper(str(name)), at_name=True)
            known[str(name)] = None if item is None else self.of.read(item, here, problems)
        return {name: item for name, item in known.items() if item is not INVALID}

    def _proper(self, name: str) -> str | None:
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        meant = re.sub(r"[^a-z0-9]+", "_", spaced).strip("_").lstrip("0123456789_")[:64]
        return meant if self.name.fullmatch(meant) else None

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^({self.name.pattern})$"},
            "additionalProperties": self.of.schema(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A map with known names, each with a kind and a sentence."""

    wants: str
    fields: Mapping[str, tuple[Kind, str]]
    required: tuple[str, ...] = ()
    """Names that cannot be inherited, so that their absence is wrong at once."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Words used elsewhere, and ours for them; only suggested."""
    hint: Callable[[Any], str | None] | None = None
    """What to write in place of a value that is no map."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, Mapping):
            meant = self.hint(value) if self.hint else None
            problems.add(path, "wrong_type", f"must be {self.wants}, not {kind_of(value)}.", meant)
            return INVALID
        known: dict[str, Any] = {}
        for name, item in value.items():
            here = (*path, str(name))
            if name not in self.fields:
                self._unknown(str(name), here, problems)
            elif item is None:
                known[name] = None  # in a plan that extends another: take the inherited one away
            else:
                known[name] = self.fields[name][0].read(item, here, problems)
        for name in self.required:
            if value.get(name) is None and not problems.misspelt(path, name):
                problems.add(path, "missing", f"needs {name}: {self.fields[name][1]}")
        return {name: item for name, item in known.items() if item is not INVALID}

    def _unknown(self, name: str, here: Path, problems: Problems) -> None:
        meant = closest(name, self.fields, self.also)
        known = "" if meant else f"; it may have {', '.join(self.fields)}"
        message = f"{name!r} is not part of {self.wants}{known}."
        problems.add(here, "unknown_field", message, meant, at_name=True)

    def schema(self) -> dict[str, Any]:
        nothing = {"type": "null"}  # the reader takes it for "not said"
        properties = {}
        for name, (kind, about) in self.fields.items():
            schema = kind.schema()
            schema = schema if name in self.required else {"anyOf": [schema, nothing]}
            properties[name] = {"description": about, **schema}
        required = {"required": list(self.required)} if self.required else {}
        shape = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**shape, **required}


@dataclass(frozen=True, slots=True, kw_only=True)
class Either:
    """A value that may be written in several ways, told apart by what it looks like."""

    wants: str
    text: Kind | None = None
    words: tuple[str, ...] = ()
    mapping: Kind | None = None
    flag: bool = False

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, bool) and self.flag:
            return value
        if isinstance(value, str) and value in self.words:
            return value
        if isinstance(value, Mapping) and self.mapping is not None:
            return self.mapping.read(value, path, problems)
        scalar = isinstance(value, str | int | float | Decimal) and not isinstance(value, bool)
        if scalar and self.text is not None and not self._is_word(value):
            return self.text.read(value, path, problems)
        meant = closest(value, self.words) if isinstance(value, str) else None
        problems.add(path, "wrong_type", f"must be {self.wants}, not {kind_of(value)}.", meant)
        return INVALID

    def _is_word(self, value: Any) -> bool:
        return bool(self.words) and isinstance(value, str) and value[:1].isalpha()

    def schema(self) -> dict[str, Any]:
        ways: list[dict[str, Any]] = [{"enum": list(self.words)}] if self.words else []
        if self.flag:
            ways.append({"type": "boolean"})
        kinds = (self.mapping,) if self.text is self.mapping else (self.text, self.mapping)
        ways.extend(kind.schema() for kind in kinds if kind is not None)
        return {"anyOf": ways}
