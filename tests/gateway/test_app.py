"""What every answer has in common, whoever gives it."""

import asyncio

import pytest

from gateway import request_id
from gateway.errors import GatewayError
from tests.gateway.conftest import ADMIN_KEY


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs", 200),
        ("GET", "/", 404),
        ("GET", "/healthz/", 404),
        ("POST", "/v1/consume/", 404),
        ("GET", "/v1/consume", 405),
        ("DELETE", "/metrics", 405),
        ("POST", "/v1/customers/acme/balances", 405),
        ("GET", "/v1/customers/acme", 404),
        ("GET", "/v1/customers/a/b/c/balances", 404),
        ("POST", "/v1/holds", 501),
        ("POST", "/v1/holds/h1/capture", 501),
        ("POST", "/v1/decisions/0001-1-1/reverse", 501),
        ("POST", "/v1/consume", 401),
    ],
)
async def test_every_answer_names_its_request_and_every_refusal_is_a_problem(
    world, method, path, status
):
    answer = await world.ask(method, path, {})
    assert answer.status == status
    assert len([name for name, _ in answer.fields if name == "x-tallygate-request-id"]) == 1
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["status"] == status
        assert answer.json["requestId"] == answer.headers["x-tallygate-request-id"]
    if status == 405:
        assert answer.headers["allow"]


async def test_request_ids_are_all_different():
    assert len({request_id.new() for _ in range(1_000)}) == 1_000


async def test_the_slash_of_a_customers_id_is_not_one_of_the_path(world):
    world.customer("a/b")
    answer = await world.ask("GET", "/v1/customers/a%2Fb/balances", key=ADMIN_KEY)
    assert (answer.status, answer.json["customer"]) == (200, "a/b")


async def test_a_bug_is_a_problem_and_not_a_traceback(world, monkeypatch):
    async def broken(*_):
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(world.app.parts.enforcer, "answer", broken)
    body = {"customer": "acme", "feature": "api_calls"}
    answer = await world.ask("POST", "/v1/consume", body, key=ADMIN_KEY)
    assert (answer.status, answer.json["code"]) == (500, "unexpected")
    assert b"secret" not in answer.body


async def test_a_new_catalog_is_live_soon_after_it_is_announced(world):
    parts = world.app.parts
    async with asyncio.timeout(10):
        await parts.changes.listening.wait()
        world.redis.hset("tg:catalog", "version", 2)
        world.redis.publish("tg:changes", "catalog 2")
        while parts.catalogs.live.version != 2:  # noqa: ASYNC110 - another process says it
            await asyncio.sleep(0.01)


async def test_a_catalog_nobody_can_read_leaves_the_one_before_in_force(world):
    world.redis.hset("tg:catalog", mapping={"version": 3, "doc": "{"})
    catalogs = world.app.parts.catalogs
    catalogs.changed()
    await asyncio.sleep(0.05)
    assert catalogs.live.version == 1


async def test_without_a_catalog_requests_in_front_of_an_api_are_refused_as_our_fault(world):
    world.redis.delete("tg:catalog")
    world.app.parts.catalogs._live = None
    answer = await world.ask("GET", "/authz/plain/x")
    assert (answer.status, answer.json["code"]) == (503, "no_catalog")


def test_every_error_has_its_own_status():
    statuses = [error.status for error in GatewayError.__subclasses__()]
    assert len(set(statuses)) >= len(statuses) - 1


async def test_what_is_on_or_off_takes_no_quantity(world):
    world.customer("acme")
    for verb in ("consume", "check", "track"):
        for wrong in ({"quantity": 2}, {"quantity": "nan"}, {"quantity": -1}, {"usage": {"a": 1}}):
            body = {"customer": "acme", "feature": "sso", **wrong}
            answer = await world.ask("POST", f"/v1/{verb}", body, key=ADMIN_KEY)
            assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/quantity"), wrong
        granted = await world.ask(
            "POST", f"/v1/{verb}", {"customer": "acme", "feature": "sso"}, key=ADMIN_KEY
        )
        assert granted.json["reason"] == "granted"


async def test_a_repeat_is_answered_again_and_counted_once(world):
    world.customer("acme")
    body = {"customer": "acme", "feature": "api_calls", "idempotencyKey": "once"}
    before = _decided(world)
    for _ in range(3):
        answer = await world.ask("POST", "/v1/consume", body, key=ADMIN_KEY)
        assert answer.json["allowed"]
    assert _decided(world) == before + 1


def _decided(world) -> int:
    counters = world.app.parts.metrics.total().counters
    return sum(number for key, number in counters if key[:2] == ("decisions", "consume"))
