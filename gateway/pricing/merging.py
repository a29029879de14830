"""The one merge of the catalog: what `extends` and a subscription's overrides do."""

from collections.abc import Mapping
from typing import Any


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Key by key, all the way down; lists and scalars are replaced, None takes a key away.

    A price of another model replaces the one before: what belongs to one model means nothing to another.
    """
    merged = dict(base)
    for key, change in changes.items():
        under = merged.get(key)
        if change is None:
            merged.pop(key, None)
        elif isinstance(change, Mapping):
            kept = under if isinstance(under, Mapping) else {}
            merged[key] = merge({} if _is_another_model(kept, change) else kept, change)
        else:
            merged[key] = change
    return merged


def _is_another_model(under: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
    """Whether a price changes its model; a feature may be called model, a model is a word."""
    model = change.get("model")
    return isinstance(model, str) and under.get("model") not in (None, model)


def without_nothing(plain: Any) -> Any:
    """A copy in which names with the value None are gone."""
    if isinstance(plain, Mapping):
        return {key: without_nothing(value) for key, value in plain.items() if value is not None}
    if isinstance(plain, list):
        return [without_nothing(value) for value in plain]
    return plain
