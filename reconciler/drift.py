"""Drift: a difference between two places that must say the same."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "log", "sequence", "chain", "cost", "entitlement", "rollup", "invoice"]
KINDS: tuple[Kind, ...] = (
    "counter",
    "log",
    "sequence",
    "chain",
    "cost",
    "entitlement",
    "rollup",
    "invoice",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference: what kind, which row or counter, and what it says instead."""

    kind: Kind
    where: str
    message: str
