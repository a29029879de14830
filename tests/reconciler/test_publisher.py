"""What Postgres has decided reaches Redis: at once, later, again, and never an older one last."""

import time
from typing import Any

import psycopg
from redis import Redis

from lua import keys
from reconciler.publisher import publish_all, push_customer, push_pending
from tests.reconciler.control.plane import CATALOG, DAY_MS, running_plane


def away() -> Redis:
    """A Redis that nobody answers for."""
    return Redis.from_url("unix:///nowhere/at/all.sock", retry=None)


def test_a_change_while_redis_is_away_is_202_and_pushed_later(
    redis_client: Redis, connection: psycopg.Connection[Any], database_url: str
) -> None:
    with running_plane(away(), connection, database_url) as plane:
        pushed = plane.ask("PUT", "/v1/catalog", CATALOG, content_type="application/yaml")
        assert (pushed.status, pushed.body["applied"]) == (202, False)
        added = plane.ask("PUT", "/v1/customers/acme", {})
        assert (added.status, added.body["applied"]) == (202, False)
        path = "/v1/customers/acme/subscription"
        subscribed = plane.ask("PUT", path, {"plan": "pro"})
        assert (subscribed.status, subscribed.body["applied"]) == (202, False)
        made = plane.ask("POST", "/v1/keys", {"customer": "acme"})
        assert (made.status, made.body["applied"]) == (202, False)
        assert plane.ask("GET", "/v1/customers/acme/invoices/upcoming").status == 503
        assert plane.ask("GET", "/readyz").status == 503
        assert plane.ask("DELETE", "/v1/customers/acme").status == 503
        assert plane.ask("GET", "/v1/customers/acme").status == 200, "nothing was half done"
    # Without a subscription, with one, and the key.
    assert push_pending(connection, redis_client, past_kept_ms=DAY_MS) == 3
    assert redis_client.hget(keys.entitlement("acme"), "doc")
    assert list(redis_client.scan_iter("tg:key:*"))
    assert push_pending(connection, redis_client, past_kept_ms=DAY_MS) == 0


def test_what_could_not_be_pushed_is_pushed_without_being_asked(
    redis_client: Redis, connection: psycopg.Connection[Any], database_url: str
) -> None:
    with running_plane(away(), connection, database_url) as plane:
        plane.ask("PUT", "/v1/catalog", CATALOG, content_type="application/yaml")
        plane.ask("PUT", "/v1/customers/acme", {})
        plane.ask("PUT", "/v1/customers/acme/subscription", {"plan": "pro"})
    assert not redis_client.keys()
    with running_plane(redis_client, connection, database_url):
        for _ in range(100):
            if redis_client.exists(keys.CATALOG, keys.entitlement("acme")) == 2:
                return
            time.sleep(0.05)
    raise AssertionError("chores did not push within five seconds")


def test_everything_can_be_sent_again_to_a_redis_that_forgot(
    redis_client: Redis, connection: psycopg.Connection[Any], database_url: str
) -> None:
    with running_plane(redis_client, connection, database_url) as plane:
        plane.push()
        for customer in ("a", "b", "c"):
            plane.subscribe(customer)
            plane.ok("POST", "/v1/keys", {"customer": customer})
        before = {key: redis_client.hgetall(key) for key in redis_client.keys("tg:*ent:*")}
        keys_before = {key: redis_client.hgetall(key) for key in redis_client.keys("tg:key:*")}
        redis_client.flushall()
        published = publish_all(connection, redis_client, past_kept_ms=DAY_MS)
    assert (published.entitlements, published.keys, published.catalog) == (3, 3, 1)
    assert {key: redis_client.hgetall(key) for key in redis_client.keys("tg:*ent:*")} == before
    assert {key: redis_client.hgetall(key) for key in redis_client.keys("tg:key:*")} == keys_before


def test_an_older_entitlement_never_takes_the_place_of_a_newer_one(
    redis_client: Redis, connection: psycopg.Connection[Any], database_url: str
) -> None:
    with running_plane(redis_client, connection, database_url) as plane:
        plane.push()
        plane.subscribe("acme")
        redis_client.hset(keys.entitlement("acme"), mapping={"version": "999", "doc": "newer"})
        assert push_customer(connection, redis_client, "acme", past_kept_ms=DAY_MS)
    assert redis_client.hget(keys.entitlement("acme"), "doc") == b"newer"


def test_gateways_hear_of_a_change_after_it_is_in_redis(
    redis_client: Redis, connection: psycopg.Connection[Any], database_url: str
) -> None:
    listener: Any = redis_client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    listener.subscribe(keys.CHANGES)
    with running_plane(redis_client, connection, database_url) as plane:
        plane.push()
        plane.subscribe("a%20b")
        plane.ok("POST", "/v1/keys", {"customer": "a b"})
    heard = []
    for _ in range(10):
        if message := listener.get_message(timeout=0.2):
            heard.append(message["data"])
    listener.close()
    assert heard[0] == b"catalog 1"
    assert b"customer a b" in heard
    assert any(each.startswith(b"key ") for each in heard)


def test_a_replaced_entitlement_is_kept_as_long_as_an_answer_given_under_it_may_be_repeated(
    redis_client: Redis, connection: psycopg.Connection[Any], database_url: str
) -> None:
    given = {"idempotency_retention_ms": 2 * DAY_MS}
    with running_plane(redis_client, connection, database_url, **given) as plane:
        plane.push()
        plane.subscribe("acme")
        plane.ok("PUT", "/v1/customers/acme", {"suspended": True})
    kept_ms: Any = redis_client.pttl(keys.past_entitlements("acme"))
    assert 4 * DAY_MS < kept_ms <= 4 * DAY_MS + 3_600_000
