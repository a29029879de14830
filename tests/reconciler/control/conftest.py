from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from redis import Redis

from tests.reconciler.control.plane import Plane, running_plane


@pytest.fixture
def plane(
    redis_client: Redis, connection: psycopg.Connection[Any], database_url: str
) -> Iterator[Plane]:
    """A control plane with a test clock, over empty stores."""
    with running_plane(redis_client, connection, database_url) as running:
        yield running
