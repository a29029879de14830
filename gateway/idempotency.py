"""Idempotency keys: where the record of one is kept, and what tells its payload from another."""

import re
import time
from hashlib import blake2b

import msgspec

from gateway.codec import Number
from gateway.counters import NO_FINGERPRINT, Replay
from gateway.errors import Conflict
from gateway.usage_request import UsageRequest, Verb

_UUID7 = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?7[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_CROCKFORD = {character: i for i, character in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_pack = msgspec.msgpack.Encoder(order="sorted").encode


def replay_of(verb: Verb, request: UsageRequest, retention_ms: int) -> Replay | None:
    """The record to look for and to leave; None when the request has no key.

    Raises Conflict for a key that says itself that it is older than keys are remembered.
    """
    if verb == "check":
        return None
    if request.replay is not None:
        proxy_key, proxy_retention_ms = request.replay
        field = _digest(b"proxy", request.customer.encode(), proxy_key)
        return Replay(field, NO_FINGERPRINT, proxy_retention_ms)
    key = request.idempotency_key
    if key is None:
        return None
    made_ms = key_time_ms(key)
    if made_ms is not None and made_ms < time.time_ns() // 1_000_000 - retention_ms:
        raise Conflict(
            "This idempotency key was made longer ago than keys are remembered.",
            code="idempotency_expired",
        )
    field = _digest(verb.encode(), request.customer.encode(), key.encode())
    return Replay(field, _fingerprint(request), retention_ms)


def key_time_ms(key: str) -> int | None:
    """When a UUIDv7 (RFC 9562) or a ULID was made, milliseconds; None for any other key."""
    if match := _UUID7.fullmatch(key.lower()):
        return int("".join(match.groups()), 16)
    if _ULID.fullmatch(key):
        made_ms = 0
        for character in key[:10]:
            made_ms = made_ms * 32 + _CROCKFORD[character]
        return made_ms
    return None


def _digest(*parts: bytes) -> bytes:
    """16 bytes of a hash over parts that cannot run into each other."""
    hasher = blake2b(digest_size=16)
    for part in parts:
        hasher.update(b"%d:" % len(part))
        hasher.update(part)
    return hasher.digest()


def _fingerprint(request: UsageRequest) -> bytes:
    """16 bytes that differ when the payload does; 1 and "1" are the same quantity."""
    payload = [
        [
            item.feature,
            _text(item.quantity),
            item.variant,
            item.usage and {kind: _text(count) for kind, count in item.usage.items()},
        ]
        for item in request.asked()
    ]
    return blake2b(_pack([payload, request.metadata]), digest_size=16).digest()


def _text(quantity: Number) -> str:
    return "1" if quantity is None else str(quantity)
