"""The only file that spells a Redis key.

Every key of a customer carries the hash tag of the customer's bucket, so that one script may touch all of them and a
cluster keeps them on one node. The tag comes from a hash of the id, never from the id itself, and ids are
percent-encoded, so no id can move a key or be mistaken for another one.
"""

from functools import lru_cache
from hashlib import blake2b
from urllib.parse import quote

BUCKETS = 1024
"""How many buckets an installation has; fixed for its life, kept in every `meta`, checked at start."""

CATALOG = "tg:catalog"
"""hash: the catalog that is live: version, sha256, doc (JSON of the normalised catalog)."""

CHANGES = "tg:changes"
"""pub/sub channel: `customer <id>`, `key <sha256>` or `catalog <version>`, sent after the change is in Redis."""

ADOPT = "tg:adopt"
"""set: numbers of the buckets that a gateway found fenced and asks the reconciler to adopt."""

SHARDS = 256
"""How many hashes one slab of idempotency records is split into, so that none grows large enough to block when it expires."""


@lru_cache(maxsize=100_000)
def bucket_of(customer: str) -> int:
    """The bucket of a customer: 0 … BUCKETS − 1, the same in every process and for ever."""
    return int.from_bytes(blake2b(customer.encode(), digest_size=8).digest(), "big") % BUCKETS


def _key(bucket: int, *parts: str) -> str:
    return ":".join((f"tg:{{b{bucket:04d}}}", *parts))


def _customer_key(kind: str, customer: str, *parts: str) -> str:
    return _key(bucket_of(customer), kind, quote(customer, safe=""), *parts)


def meta(bucket: int) -> str:
    """hash: run_id, replid, epoch, seq, clock_ms, offset_ms, buckets, format."""
    return _key(bucket, "meta")


def log(bucket: int) -> str:
    """stream: one entry per decision that changed something; its id is `<epoch>-<seq>`."""
    return _key(bucket, "log")


def denied(bucket: int) -> str:
    """stream: denials, capped; never part of a balance."""
    return _key(bucket, "denied")


def idempotency(bucket: int, slab: int, shard: int) -> str:
    """hash: idempotency records of one slab of time; a slab is one retention long."""
    return _key(bucket, "idem", str(slab), str(shard))


def entitlement(customer: str) -> str:
    """hash: version (integer) and doc (msgpack of `Entitlement.to_plain`)."""
    return _customer_key("ent", customer)


def past_entitlements(customer: str) -> str:
    """hash: version → doc of entitlements that were replaced within the idempotency retention."""
    return _customer_key("past", customer)


def usage(customer: str, feature: str) -> str:
    """hash: the windows and the billing segments of one customer and feature; `lua/state.py` reads it."""
    return _customer_key("use", customer, feature)


def api_key(sha256_hex: str) -> str:
    """hash: an API key by the SHA-256 of its secret: id, kind, customer, scopes, customers, features."""
    return f"tg:key:{sha256_hex}"
