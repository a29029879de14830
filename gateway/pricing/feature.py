"""What a catalog defines beside its plans: features, credit systems and packs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.pricing.window import Span

FeatureType = Literal["metered", "boolean", "allocated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """Something that can be used; one whole unit of it is 10^scale base units."""

    id: str
    name: str
    unit: str
    type: FeatureType = "metered"
    scale: int = 0
    weights: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By variant, then by kind of usage: how many units one of it counts, as exact text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditSystem:
    """Prepaid units; `costs` says how many, as exact text, one unit of each feature takes."""

    id: str
    name: str
    scale: int = 0
    costs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Credits for sale: `quantity` in base units of the credit system, `price` as exact text."""

    id: str
    name: str
    credits: str
    quantity: int
    price: str
    currency: str
    expires: Span = Span("never")


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """What plans may refer to."""

    currency: str
    entities: tuple[str, ...]
    features: Mapping[str, Feature]
    credits: Mapping[str, CreditSystem]
    plans: tuple[str, ...]
    """Ids of all plans, readable or not."""


def spoken(identifier: str) -> str:
    """An id as words, for what has no name of its own."""
    return identifier.replace("_", " ").capitalize()
