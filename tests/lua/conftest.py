"""One contract suite over every engine present: the embedded Valkey, a Redis found on PATH, fakeredis."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis

from deploy.stores import start_valkey
from tests.lua.calls import Calls

ENGINES = ("valkey", "redis", "fakeredis")


@pytest.fixture(scope="session")
def redis_on_path_url(store_directory: Path, needs: Any) -> Iterator[str]:
    """The URL of the Redis that the machine has."""
    with start_valkey(
        store_directory / "redis", appendonly=False, program=needs("redis-server")
    ) as server:
        yield server.url


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """An empty server of each kind in turn."""
    if request.param == "fakeredis":
        client: redis.Redis = fakeredis.FakeRedis(version=(7,))
    else:
        if request.param == "redis" and shutil.which("redis-server") is None:
            request.getfixturevalue("needs")("redis-server")
        fixture = {"valkey": "valkey_url", "redis": "redis_on_path_url"}[request.param]
        client = redis.Redis.from_url(request.getfixturevalue(fixture), retry=None)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def calls(engine: redis.Redis) -> Calls:
    """The scripts on that server, for one customer whose bucket is adopted."""
    made = Calls(engine)
    made.adopt()
    return made
