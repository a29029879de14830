"""How much is asked for, exactly, in base units: from a number, a string, or kinds of usage and their weights."""

from collections.abc import Mapping
from decimal import Decimal

from gateway.codec import Number, invalid
from gateway.errors import Invalid
from gateway.pricing.entitlement import QUANTITY_MAX, FeatureEntitlement
from gateway.pricing.money import format_quantity, parse_quantity


def quantity_of(
    feature: FeatureEntitlement,
    quantity: Number,
    variant: str | None,
    usage: Mapping[str, Number] | None,
    pointer: str,
) -> int:
    """Base units asked for; one unit when nothing is said. Raises Invalid, pointing below `pointer`."""
    if usage is None:
        if variant is not None:
            raise invalid(f"{pointer}/variant", "`variant` needs `usage`: how much of each kind.")
        return _exact(feature, 1 if quantity is None else quantity, f"{pointer}/quantity")
    if quantity is not None:
        raise invalid(f"{pointer}/quantity", "Give either `quantity` or `usage`, not both.")
    return _weighted(feature, variant, usage, pointer)


def _exact(feature: FeatureEntitlement, quantity: int | str | float, pointer: str) -> int:
    if type(quantity) is int and feature.scale == 0 and 0 <= quantity <= QUANTITY_MAX:
        return quantity
    if isinstance(quantity, float):
        raise _not_exact(feature, quantity, pointer)
    try:
        base = parse_quantity(quantity, feature.scale)
    except ValueError as error:
        raise invalid(pointer, str(error)) from None
    if not 0 <= base <= QUANTITY_MAX:
        most = format_quantity(QUANTITY_MAX, feature.scale)
        raise invalid(pointer, f"A quantity is between 0 and {most}.")
    return base


def _not_exact(feature: FeatureEntitlement, quantity: float, pointer: str) -> Invalid:
    text = format(Decimal(repr(quantity)), "f")
    return invalid(
        pointer,
        f'A JSON number with a fraction or an exponent is not exact; send the string "{text}".'
        if feature.scale
        else f"{feature.name} is counted in whole {feature.unit}s; send an integer.",
        code="quantity_not_exact",
    )


def _weighted(
    feature: FeatureEntitlement,
    variant: str | None,
    usage: Mapping[str, Number],
    pointer: str,
) -> int:
    """The sum of each kind's count times its weight; an amount below one base unit is rounded up."""
    if not feature.weights:
        raise invalid(f"{pointer}/usage", f"{feature.name} has no weights; send `quantity`.")
    weights = feature.weights.get(variant or "*") or feature.weights.get("*")
    if weights is None:
        known = ", ".join(sorted(feature.weights))
        raise invalid(f"{pointer}/variant", f"{variant!r} has no weights; known are {known}.")
    total = Decimal(0)
    for kind, count in usage.items():
        if kind not in weights:
            known = ", ".join(sorted(weights))
            raise invalid(f"{pointer}/usage/{kind}", f"There is no such kind; known are {known}.")
        if isinstance(count, float) or count is None:
            raise invalid(
                f"{pointer}/usage/{kind}", "Send a whole number.", code="quantity_not_exact"
            )
        try:
            whole = parse_quantity(count, 0)
        except ValueError as error:
            raise invalid(f"{pointer}/usage/{kind}", str(error)) from None
        if not 0 <= whole <= QUANTITY_MAX:
            raise invalid(f"{pointer}/usage/{kind}", f"A count is between 0 and {QUANTITY_MAX}.")
        total += whole * Decimal(weights[kind])
    base = total.scaleb(feature.scale)
    rounded = int(base) + (base != int(base))
    if rounded > QUANTITY_MAX:
        raise invalid(f"{pointer}/usage", "The usage comes to more than a quantity can be.")
    return rounded
