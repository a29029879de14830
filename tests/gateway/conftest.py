"""What the tests of the data plane share."""

from collections.abc import AsyncIterator

import pytest_asyncio

from gateway.connection import Connection


@pytest_asyncio.fixture
async def connection(redis_client, valkey_url: str) -> AsyncIterator[Connection]:
    """The gateway's own connection to an empty Valkey, patient enough for a busy machine."""
    connection = Connection(valkey_url, deadline_ms=2_000)
    await connection.open()
    yield connection
    await connection.close()
