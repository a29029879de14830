"""The kinds of value that hold others: lists, maps, and values written in several ways."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gateway.pricing.catalog_problem import Path, Problems, closest, kind_of
from gateway.pricing.catalog_scalars import INVALID, Kind, wrong_type

ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
ENTRIES_MAX = 1000
"""How many features, plans, routes … one catalog may have of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list."""

    of: Kind
    wants: str = "a list"
    most: int = ENTRIES_MAX

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, list | tuple):
            return wrong_type(self, value, path, problems)
        if len(value) > self.most:
            problems.add(path, "too_many", f"has {len(value)} entries; at most {self.most}.")
            return INVALID
        read = [self.of.read(item, (*path, place), problems) for place, item in enumerate(value)]
        # Without one of its items the others would stand in places that are not theirs.
        return INVALID if INVALID in read else read

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
            return wrong_type(self, value, path, problems)
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
        if problems.full:
            return
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
