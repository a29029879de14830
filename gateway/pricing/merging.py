"""The one merge of the catalog: what `extends` and a subscription's overrides do."""

from collections.abc import Mapping
from typing import Any


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Key by key, all the way down; lists and scalars are replaced, None takes a key away."""
    merged = dict(base)
    for key, change in changes.items():
        under = merged.get(key)
        if change is None:
            merged.pop(key, None)
        elif isinstance(change, Mapping):
            merged[key] = merge(under if isinstance(under, Mapping) else {}, change)
        else:
            merged[key] = change
    return merged


def without_nothing(plain: Any) -> Any:
    """A copy in which names with the value None are gone."""
    if isinstance(plain, Mapping):
        return {key: without_nothing(value) for key, value in plain.items() if value is not None}
    if isinstance(plain, list):
        return [without_nothing(value) for value in plain]
    return plain
