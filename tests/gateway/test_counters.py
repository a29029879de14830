"""Decisions that arrive together leave in one call, and each waiter gets its own answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis

from gateway.connection import Connection
from gateway.counters import Counters
from gateway.entitlements import Entitlements, Holding, Prepared
from gateway.errors import Outage
from gateway.gathering import TOGETHER_MAX
from gateway.metrics import Metrics
from gateway.scripts import Scripts
from gateway.usage_request import UsageRequest
from lua import keys
from lua.reply import Code
from tests.lua.calls import CUSTOMER, Calls, entitlement, feature

REQUEST = UsageRequest(customer=CUSTOMER, source="key", request_id="request")


class World:
    """One customer and the parts that decide for it."""

    def __init__(self, client: redis.Redis, connection: Connection) -> None:
        self.client = client
        self.connection = connection
        self.calls = Calls(client)
        self.calls.run_id = client.info("server")["run_id"]
        self.calls.replid = client.info("replication")["master_replid"]
        self.counters = Counters(Scripts(connection, Metrics()))

    async def prepare(self, included: int | None) -> tuple[Holding, Prepared]:
        self.calls.adopt()
        self.calls.entitle(entitlement(feature(included=included)))
        holding = await Entitlements(self.connection).load(CUSTOMER)
        assert holding is not None
        one = holding.entitlement.features["api_calls"]
        return holding, holding.prepare(one, holding.entitlement, self.calls.server_ms())

    def scripts_run(self) -> int:
        found = self.client.info("commandstats").get("cmdstat_evalsha", {})
        return int(found.get("calls", 0)) - int(found.get("failed_calls", 0))


@pytest.fixture
async def world(redis_client: redis.Redis, valkey_url: str) -> AsyncIterator[World]:
    redis_client.config_resetstat()
    redis_client.script_flush()
    connection = Connection(valkey_url, deadline_ms=1_000)
    await connection.open()
    yield World(redis_client, connection)
    await connection.close()


async def test_a_tick_of_requests_is_one_call_and_each_gets_its_place(world: World) -> None:
    holding, one = await world.prepare(included=100)
    answers = await asyncio.gather(
        *(
            world.counters.decide("consume", holding, [(one, quantity)], REQUEST, None)
            for quantity in (1, 2, 3, 4)
        )
    )
    assert [answer[3] for answer in answers] == [1, 2, 3, 4]
    assert [answer[14] for answer in answers] == [1, 3, 6, 10], "used after each"
    assert world.scripts_run() == 1


async def test_exactly_the_included_are_allowed_however_many_ask(world: World) -> None:
    holding, one = await world.prepare(included=100)
    answers = await asyncio.gather(
        *(
            world.counters.decide("consume", holding, [(one, 1)], REQUEST, None)
            for _ in range(1_000)
        )
    )
    assert sum(answer[0] == Code.DONE for answer in answers) == 100
    assert world.client.xlen(keys.log(holding.bucket)) == 100
    assert world.scripts_run() == -(-1_000 // TOGETHER_MAX)


async def test_one_that_gives_up_waiting_takes_no_other_with_it(world: World) -> None:
    holding, one = await world.prepare(included=100)
    tasks = [
        asyncio.ensure_future(world.counters.decide("consume", holding, [(one, 1)], REQUEST, None))
        for _ in range(3)
    ]
    await asyncio.sleep(0)
    tasks[1].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[1], asyncio.CancelledError)
    assert world.client.xlen(keys.log(holding.bucket)) == 3, "what was asked is counted"
    assert world.counters.deciding == 0


async def test_a_refusal_by_the_fence_reaches_everyone(world: World) -> None:
    holding, one = await world.prepare(included=100)
    world.client.hset(keys.meta(holding.bucket), "run_id", "another")
    answers = await asyncio.gather(
        *(world.counters.decide("consume", holding, [(one, 1)], REQUEST, None) for _ in range(3))
    )
    assert {answer[0] for answer in answers} == {Code.FENCED}


async def test_an_outage_reaches_everyone(world: World) -> None:
    holding, one = await world.prepare(included=100)
    await world.connection.close()
    await asyncio.sleep(0.01)
    answers = await asyncio.gather(
        *(world.counters.decide("consume", holding, [(one, 1)], REQUEST, None) for _ in range(3)),
        return_exceptions=True,
    )
    assert all(isinstance(answer, Outage) for answer in answers)
    assert world.counters.deciding == 0


@pytest.mark.parametrize("verb", ["check", "track"])
async def test_the_other_verbs_call_their_own_script(world: World, verb: str) -> None:
    holding, one = await world.prepare(included=1)
    answer = await world.counters.decide(verb, holding, [(one, 3)], REQUEST, None)
    assert answer[0] == (Code.DENIED if verb == "check" else Code.DONE)


async def test_nobody_is_left_waiting_by_a_fault_of_ours(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding, one = await world.prepare(included=100)

    def broken(*_: object) -> bytes:
        raise RuntimeError("a fault")

    monkeypatch.setattr("gateway.gathering._bulks", broken)
    answers = await asyncio.wait_for(
        asyncio.gather(
            *(
                world.counters.decide("consume", holding, [(one, 1)], REQUEST, None)
                for _ in range(3)
            ),
            return_exceptions=True,
        ),
        timeout=5,
    )
    assert [type(answer) for answer in answers] == [RuntimeError] * 3
    assert world.counters.deciding == 0
