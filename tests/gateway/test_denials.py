"""Denials reach support with the words they were answered with, and never change what they were about."""

import json

import redis

from gateway.connection import Connection
from gateway.denials import STREAM_MAX, WAITING_MAX, Denials
from gateway.pricing.ask import ask
from gateway.pricing.decision import Counts, Decision, WindowCount, decide, describe
from lua import keys
from tests.lua.calls import CUSTOMER, entitlement, feature

AT_MS = 1_795_000_000_000


def denial() -> Decision:
    one = feature(included=1)
    asked = ask(entitlement(one), one, AT_MS)
    counts = Counts(windows=[WindowCount(1, window.end_ms) for window in asked.windows])
    decision = describe(asked, decide(asked, counts, 1), at_ms=AT_MS, decision_id=None)
    assert not decision.allowed
    return decision


async def shipped(client: redis.Redis, url: str, decisions: list[Decision]) -> list[dict[str, str]]:
    connection = Connection(url, deadline_ms=1_000)
    await connection.open()
    denials = Denials(connection)
    for decision in decisions:
        denials.note([decision])
    await denials.ship()
    await connection.close()
    entries = client.xrange(keys.denied(keys.bucket_of(CUSTOMER)))
    return [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in entries]


async def test_a_denial_is_kept_under_the_id_it_was_answered_with(
    redis_client: redis.Redis, valkey_url: str
) -> None:
    decision = denial()
    (entry,) = await shipped(redis_client, valkey_url, [decision])
    assert entry["id"] == decision.id
    assert entry["id"].startswith("d-")
    document = json.loads(entry["doc"])
    assert document["decision"] == decision.id
    assert document["reason"] == entry["reason"] == "allowance_exhausted"
    assert list(redis_client.scan_iter()) == [keys.denied(keys.bucket_of(CUSTOMER)).encode()]


async def test_above_the_rate_they_are_counted_but_not_shipped(
    redis_client: redis.Redis, valkey_url: str
) -> None:
    decisions = [denial() for _ in range(WAITING_MAX + 5)]
    entries = await shipped(redis_client, valkey_url, decisions)
    assert len(entries) == WAITING_MAX <= STREAM_MAX
    assert [decision.id for decision in decisions[WAITING_MAX:]] == [None] * 5


async def test_what_does_not_exist_is_written_nowhere(
    redis_client: redis.Redis, valkey_url: str
) -> None:
    unknown = denial()
    unknown.reason = "customer_unknown"
    assert await shipped(redis_client, valkey_url, [unknown]) == []
    assert list(redis_client.scan_iter()) == []
