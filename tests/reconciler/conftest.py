from collections.abc import Iterator

import psycopg
import pytest
from redis import Redis

from lua import keys
from tests.reconciler.decisions import Decisions


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def few_buckets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Customers meet in the same buckets, and what is done for every bucket is soon done."""
    keys.bucket_of.cache_clear()
    monkeypatch.setattr(keys, "BUCKETS", 4)
    yield
    keys.bucket_of.cache_clear()


@pytest.fixture
def decisions(redis_client: Redis, connection: psycopg.Connection) -> Decisions:
    """Customers on an adopted Redis."""
    made = Decisions(redis=redis_client, connection=connection)
    made.adopt()
    return made
