import asyncio
from hashlib import sha256

import pytest

from gateway import auth
from gateway.auth import ADMIN, Authenticator, secret_of
from gateway.connection import Connection
from gateway.errors import Forbidden, Malformed, Outage, Unauthenticated
from lua import keys


class Clock:
    seconds = 1000.0

    def __call__(self):
        return self.seconds


def issue(redis_client, secret, **fields):
    digest = sha256(secret.encode()).hexdigest()
    redis_client.hset(keys.api_key(digest), mapping={"id": "k_1", "kind": "service", **fields})
    return digest


def test_the_secret_comes_from_either_header():
    assert secret_of([(b"host", b"x"), (b"authorization", b"Bearer abc")]) == b"abc"
    assert secret_of([(b"authorization", b"bearer abc")]) == b"abc"
    assert secret_of([(b"x-api-key", b"abc")]) == b"abc"
    assert secret_of([(b"x-api-key", b"abc"), (b"authorization", b"Bearer abc")]) == b"abc"
    assert secret_of([(b"x-api-key", b"abc"), (b"authorization", b"Basic eDp5")]) == b"abc"
    assert secret_of([(b"host", b"x")]) is None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-api-key", b"abc"), (b"x-api-key", b"abc")],
        [(b"authorization", b"Bearer abc"), (b"authorization", b"Bearer abd")],
        [(b"x-api-key", b"abc"), (b"authorization", b"Bearer abd")],
    ],
)
def test_two_stories_about_the_key_are_refused(headers):
    with pytest.raises(Malformed):
        secret_of(headers)


def test_another_scheme_alone_is_no_key():
    with pytest.raises(Unauthenticated):
        secret_of([(b"authorization", b"Basic eDp5")])


async def test_a_key_is_found_once_and_then_remembered(connection, redis_client):
    issue(redis_client, "s3cret", scopes="consume check", customers="acme a%20b", features="ai")
    authenticator = Authenticator(connection)
    assert authenticator.cached(b"s3cret") is None
    caller = await authenticator.find(b"s3cret")
    assert caller.scopes == {"consume", "check"}
    assert caller.customers == {"acme", "a b"}
    assert caller.features == {"ai"}
    redis_client.flushall()
    assert authenticator.cached(b"s3cret") is caller


async def test_the_admin_key_needs_no_redis_and_has_every_scope():
    authenticator = Authenticator(Connection("unix:///nowhere", deadline_ms=50), "boss")
    assert authenticator.cached(b"boss") is ADMIN
    for scope in auth.SCOPES:
        ADMIN.require(scope, "anyone", "anything")


async def test_no_admin_key_means_nobody_is_admin(connection):
    with pytest.raises(Unauthenticated):
        await Authenticator(connection, "").find(b"")


async def test_an_unknown_key_is_refused_and_asked_for_again_only_after_a_second(
    connection, redis_client
):
    clock = Clock()
    authenticator = Authenticator(connection, clock_s=clock)
    with pytest.raises(Unauthenticated):
        await authenticator.find(b"s3cret")
    issue(redis_client, "s3cret", scopes="check")
    with pytest.raises(Unauthenticated):
        authenticator.cached(b"s3cret")
    clock.seconds += auth.UNKNOWN_SECONDS + 0.01
    assert (await authenticator.find(b"s3cret")).id == "k_1"


async def test_a_key_is_believed_for_thirty_seconds_without_a_push(connection, redis_client):
    clock = Clock()
    authenticator = Authenticator(connection, clock_s=clock)
    issue(redis_client, "s3cret", scopes="check")
    await authenticator.find(b"s3cret")
    redis_client.flushall()
    clock.seconds += auth.KNOWN_SECONDS - 1
    assert authenticator.cached(b"s3cret") is not None
    clock.seconds += 1.01
    with pytest.raises(Unauthenticated):
        await authenticator.find(b"s3cret")


async def test_a_revoked_key_is_forgotten_when_told(connection, redis_client):
    authenticator = Authenticator(connection)
    digest = issue(redis_client, "s3cret", scopes="check")
    await authenticator.find(b"s3cret")
    redis_client.flushall()
    authenticator.forget(digest)
    with pytest.raises(Unauthenticated):
        await authenticator.find(b"s3cret")


async def test_an_answer_older_than_a_revocation_is_not_kept(connection, redis_client):
    authenticator = Authenticator(connection)
    digest = issue(redis_client, "s3cret", scopes="check")
    finding = asyncio.ensure_future(authenticator.find(b"s3cret"))
    while not (connection._protocol and connection._protocol.waiting):  # noqa: ASYNC110 - until the question has left
        await asyncio.sleep(0)
    authenticator.forget(digest)
    await finding
    assert authenticator.cached(b"s3cret") is None


async def test_memory_of_keys_is_bounded(connection, redis_client, monkeypatch):
    monkeypatch.setattr(auth, "KNOWN_MAX", 2)
    authenticator = Authenticator(connection)
    for secret in ("a", "b", "c"):
        issue(redis_client, secret, scopes="check")
        await authenticator.find(secret.encode())
    assert authenticator.cached(b"a") is None
    assert authenticator.cached(b"b") is not None
    assert authenticator.cached(b"c") is not None


async def test_a_key_that_cannot_be_looked_up_is_an_outage():
    with pytest.raises(Outage):
        await Authenticator(Connection("unix:///nowhere", deadline_ms=50)).find(b"s3cret")


async def test_a_customer_key_checks_reads_and_pays_for_its_customer_only(connection, redis_client):
    issue(redis_client, "s3cret", kind="customer", customer="acme inc", scopes="consume")
    caller = await Authenticator(connection).find(b"s3cret")
    caller.require("check", "acme inc", "ai")
    caller.require("read")
    caller.require(auth.PAY, "acme inc")
    with pytest.raises(Forbidden, match="service key"):
        caller.require("consume", "acme inc")
    with pytest.raises(Forbidden, match="that customer"):
        caller.require("check", "other")


async def test_a_service_key_stays_within_its_scopes_customers_and_features(
    connection, redis_client
):
    issue(redis_client, "s3cret", scopes="consume made_up", customers="acme", features="ai")
    caller = await Authenticator(connection).find(b"s3cret")
    caller.require("consume", "acme", "ai")
    for scope, customer, feature in [
        ("check", "acme", "ai"),
        ("made_up", "acme", "ai"),
        ("consume", "other", "ai"),
        ("consume", "acme", "api_calls"),
        (auth.PAY, "acme", "ai"),
    ]:
        with pytest.raises(Forbidden):
            caller.require(scope, customer, feature)
