import asyncio

import pytest_asyncio

from gateway import changes
from gateway.changes import Changes
from lua import keys

PATIENCE_SECONDS = 10


async def until(met):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not met():  # noqa: ASYNC110 - what is awaited is another process
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def heard(redis_client, valkey_url):
    heard = []
    listener = Changes(
        valkey_url,
        customer=lambda name: heard.append(("customer", name)),
        key=lambda name: heard.append(("key", name)),
        catalog=lambda: heard.append(("catalog",)),
        gap=lambda: heard.append(("gap",)),
    )
    task = asyncio.ensure_future(listener.run())
    await until(lambda: heard)
    assert listener.listening.is_set()
    yield heard
    task.cancel()


async def test_a_new_subscription_starts_by_forgetting(heard):
    assert heard == [("gap",)]


async def test_each_change_reaches_its_callback(heard, redis_client):
    for message in ("customer acme inc", "key 00ff", "catalog 3", "news from 2030"):
        redis_client.publish(keys.CHANGES, message)
    await until(lambda: len(heard) == 5)
    assert heard[1:] == [("customer", "acme inc"), ("key", "00ff"), ("catalog",), ("gap",)]


async def test_a_lost_subscription_forgets_at_once_and_comes_back(heard, redis_client, monkeypatch):
    monkeypatch.setattr(changes, "BACKOFF_FIRST_SECONDS", 0.01)
    redis_client.client_kill_filter(_type="pubsub")
    # One when it broke, one when it was made again.
    await until(lambda: heard.count(("gap",)) == 3)
    redis_client.publish(keys.CHANGES, "key 01")
    await until(lambda: ("key", "01") in heard)


async def test_a_silent_subscription_is_asked_whether_it_lives(
    redis_client, valkey_url, monkeypatch
):
    monkeypatch.setattr(changes, "PING_SECONDS", 0.05)
    gaps = []
    listener = Changes(
        valkey_url, customer=print, key=print, catalog=print, gap=lambda: gaps.append(1)
    )
    task = asyncio.ensure_future(listener.run())
    await until(lambda: listener.listening.is_set())
    await asyncio.sleep(0.4)
    assert len(gaps) == 1, "a server that answers pings is not given up"
    redis_client.client_pause(600)
    await until(lambda: len(gaps) >= 2)
    redis_client.client_unpause()
    task.cancel()
