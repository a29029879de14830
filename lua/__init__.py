"""Loads the scripts, checks their headers and binds KEYS and ARGV by name.

A script's header is its signature: `KEYS[1] meta hash …` names the first key `meta`. A last line `KEYS[6..] usage …` takes
a list. `--- @include "fence"` stands for the text of `lib/fence.lua`, once.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

NAMES = ("consume", "consume_many", "check", "track", "balances", "entitle", "adopt", "barrier")

_INCLUDE = re.compile(r'^--- @include "([a-z]+)"$', re.MULTILINE)
_OPERAND = re.compile(r"^-- (KEYS|ARGV)\[(\d+)(\.\.)?\] ([a-z_]+) +([a-z]+) +\S")
_SECTIONS = ("-- Called by ", "-- Returns ", "-- Writes ", "-- Cost ")


class HeaderInvalid(Exception):
    """A script's header does not say what it must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operands:
    """The labels of KEYS or of ARGV in order; the last may take a list."""

    labels: tuple[str, ...]
    rest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One operation: its text, its digest, and how its operands are named."""

    name: str
    source: str
    sha: str
    keys: Operands
    args: Operands

    def bind(self, **operands: Any) -> tuple[list[Any], list[Any]]:
        """KEYS and ARGV in order, from values by label.

        Raises TypeError for a label that is missing or that the script does not have.
        """
        try:
            keys = [operands[label] for label in self.keys.labels]
            args = [operands[label] for label in self.args.labels]
        except KeyError as missing:
            raise TypeError(f"{self.name}.lua needs {missing.args[0]}") from None
        if self.keys.rest is not None:
            keys += operands[self.keys.rest]
        if self.args.rest is not None:
            args += operands[self.args.rest]
        known = len(self.keys.labels) + len(self.args.labels)
        known += (self.keys.rest is not None) + (self.args.rest is not None)
        if len(operands) != known:
            raise TypeError(f"{self.name}.lua takes {self._labels()}, got {sorted(operands)}")
        return keys, args

    def _labels(self) -> list[str]:
        rest = [label for label in (self.keys.rest, self.args.rest) if label is not None]
        return [*self.keys.labels, *self.args.labels, *rest]


@cache
def load(name: str) -> Script:
    """The script of that name, ready for SCRIPT LOAD. Raises HeaderInvalid."""
    text = _read(f"{name}.lua")
    source = _with_includes(text)
    lines = text.splitlines()
    if not lines[0].startswith(f"-- {name}: "):
        raise HeaderInvalid(f"{name}.lua must begin with `-- {name}: `")
    for section in _SECTIONS:
        if not any(line.startswith(section) for line in lines):
            raise HeaderInvalid(f"{name}.lua has no line `{section.strip()}`")
    return Script(
        name=name,
        source=source,
        sha=sha1(source.encode()).hexdigest(),
        keys=_operands(name, "KEYS", lines),
        args=_operands(name, "ARGV", lines),
    )


def load_all() -> Iterable[Script]:
    """Every script of the product."""
    return [load(name) for name in NAMES]


def _read(path: str) -> str:
    return files(__name__).joinpath(path).read_text(encoding="utf-8")


def _with_includes(text: str) -> str:
    seen: set[str] = set()

    def once(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in seen:
            return ""
        seen.add(name)
        return _INCLUDE.sub(once, _read(f"lib/{name}.lua"))

    return _INCLUDE.sub(once, text)


def _operands(name: str, kind: str, lines: list[str]) -> Operands:
    labels: list[str] = []
    rest: str | None = None
    for line in lines:
        match = _OPERAND.match(line)
        if match is None or match.group(1) != kind:
            continue
        if rest is not None or int(match.group(2)) != len(labels) + 1:
            raise HeaderInvalid(f"{name}.lua: {line!r} is out of order")
        if match.group(3):
            rest = match.group(4)
        else:
            labels.append(match.group(4))
    return Operands(labels=tuple(labels), rest=rest)
