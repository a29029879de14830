from collections.abc import Iterator

import psycopg
import pytest
from redis import Redis

from tests.reconciler.decisions import Decisions


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def decisions(redis_client: Redis, connection: psycopg.Connection) -> Decisions:
    """Customers on an adopted Redis."""
    made = Decisions(redis=redis_client, connection=connection)
    made.adopt()
    return made
