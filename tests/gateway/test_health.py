import pytest

from gateway.connection import Connection
from gateway.errors import Unavailable
from gateway.health import Health
from gateway.settings import Settings
from lua import keys


@pytest.fixture
def adopted(redis_client):
    redis_client.hset(keys.meta(0), "buckets", keys.BUCKETS)
    yield redis_client
    redis_client.config_set("maxmemory-policy", "noeviction")


def accepting(*losses):
    return Settings(accept_loss=frozenset(losses))


async def wrong(health):
    with pytest.raises(Unavailable) as caught:
        await health.require_ready()
    return [fault.code for fault in caught.value.errors]


async def test_an_adopted_redis_with_accepted_settings_is_ready(connection, adopted):
    checks = await Health(connection, accepting("persistence")).require_ready()
    assert {check.name for check in checks} == {
        "redis",
        "role",
        "eviction",
        "persistence",
        "buckets",
    }


async def test_a_redis_without_persistence_is_not_ready_unless_accepted(connection, adopted):
    assert await wrong(Health(connection, accepting())) == ["persistence"]


async def test_a_redis_that_evicts_is_not_ready_unless_accepted(connection, adopted):
    adopted.config_set("maxmemory-policy", "volatile-ttl")
    assert await wrong(Health(connection, accepting("persistence"))) == ["eviction"]
    await Health(connection, accepting("persistence", "eviction")).require_ready()


async def test_buckets_nobody_adopted_are_not_ready(connection, redis_client):
    assert await wrong(Health(connection, accepting("persistence"))) == ["buckets"]


async def test_another_number_of_buckets_is_not_ready(connection, adopted):
    adopted.hset(keys.meta(0), "buckets", 16)
    assert await wrong(Health(connection, accepting("persistence"))) == ["buckets"]


async def test_no_redis_is_not_ready_and_names_it():
    nowhere = Connection("unix:///nowhere", deadline_ms=50)
    assert await wrong(Health(nowhere, accepting())) == ["redis"]


async def test_redis_is_asked_at_most_once_a_second(connection, adopted):
    seconds = [10.0]
    health = Health(connection, accepting("persistence"), clock_s=lambda: seconds[0])
    await health.require_ready()
    adopted.flushall()
    await health.require_ready()
    seconds[0] += 1
    assert await wrong(health) == ["buckets"]
