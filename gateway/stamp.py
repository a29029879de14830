"""What a log entry says beside its numbers; reconciler/entry.py reads it."""

import msgpack

from gateway.usage_request import UsageRequest


def stamp_of(request: UsageRequest, version: int, plan: str, catalog: int) -> bytes:
    """msgpack with one-letter names: entitlement, plan, catalog, key, request; and key, metadata, route where there are."""
    fields: dict[str, object] = {
        "e": version,
        "p": plan,
        "c": catalog,
        "k": request.source,
        "r": request.request_id,
    }
    if request.idempotency_key is not None:
        fields["i"] = request.idempotency_key
    if request.metadata is not None:
        fields["m"] = request.metadata
    if request.route is not None:
        fields["u"] = request.route
    packed: bytes = msgpack.packb(fields)
    return packed
