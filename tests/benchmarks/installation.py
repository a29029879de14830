"""One customer on an embedded Valkey, without Postgres: what the three contestants of a benchmark share."""

import json
from hashlib import sha256

import msgpack
import redis

from gateway.pricing.catalog import load_catalog
from gateway.pricing.entitlement import Entitlement, FeatureEntitlement, Limit
from gateway.pricing.price import Price
from gateway.pricing.window import Span
from lua import keys, load

CUSTOMER = "acme"
FEATURE = "api_calls"
SECRET = "benchmark"
CATALOG = {
    "currency": "USD",
    "features": {FEATURE: {"name": "API calls", "unit": "call"}},
    "plans": {"pro": {"name": "Pro", "features": {FEATURE: {"included": "1"}}}},
    "routes": [{"match": "*", "feature": FEATURE}],
}
"""Names that metrics may bear; what is enforced is the entitlement below."""
ANCHOR_MS = 1_700_000_000_000


def entitlement() -> Entitlement:
    """A plan as they are sold: an allowance, two limits and graduated overage."""
    price = Price.from_plain(
        {
            "model": "graduated",
            "tiers": [{"up_to": "10000", "unit": "0.004"}, {"unit": "0.002"}],
        }
    )
    feature = FeatureEntitlement(
        feature=FEATURE,
        name="API calls",
        unit="call",
        included=50_000_000,
        reset=Span("month"),
        align="anchor",
        limits=(
            Limit(name="api_calls.hour", max=10**9, span=Span("hour"), align="calendar"),
            Limit(name="api_calls.day", max=10**9, span=Span("day"), align="calendar"),
        ),
        overage="charge",
        price=price,
    )
    return Entitlement(
        customer=CUSTOMER,
        version=1,
        catalog=1,
        plan="pro",
        plan_name="Pro",
        currency="USD",
        zone="UTC",
        anchor_ms=ANCHOR_MS,
        starts_ms=ANCHOR_MS,
        period=Span("month"),
        features={FEATURE: feature},
    )


def install(client: redis.Redis) -> None:
    """Adopt the customer's bucket, put the entitlement in force, make a key known."""
    client.flushall()
    bucket = keys.bucket_of(CUSTOMER)
    _run(
        client,
        "adopt",
        meta=keys.meta(bucket),
        log=keys.log(bucket),
        run_id=client.info("server")["run_id"],
        replid=client.info("replication")["master_replid"],
        epoch=1,
        buckets=keys.BUCKETS,
        ledger_epoch=0,
        ledger_seq=0,
        offset_ms=0,
    )
    _run(
        client,
        "entitle",
        entitlement=keys.entitlement(CUSTOMER),
        past=keys.past_entitlements(CUSTOMER),
        version=1,
        doc=msgpack.packb(entitlement().to_plain()),
        keep_ms=86_400_000,
    )
    catalog = load_catalog(CATALOG)
    client.hset(
        keys.CATALOG,
        mapping={
            "version": 1,
            "sha256": catalog.sha256,
            "doc": json.dumps(catalog.to_plain()),
        },
    )
    client.hset(
        keys.api_key(sha256(SECRET.encode()).hexdigest()),
        mapping={"id": "bench", "kind": "service", "scopes": "check consume read"},
    )


def _run(client: redis.Redis, name: str, **operands: object) -> None:
    script = load(name)
    key_list, args = script.bind(**operands)
    client.eval(script.source, len(key_list), *key_list, *args)
