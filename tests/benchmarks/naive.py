"""The floor: the gateway as one would write it first: Starlette, redis-py, one EVALSHA a request, the same Lua.

It compiles the entitlement once and answers the same document; it checks neither key nor fields, so it does less.
"""

import os
import time

import redis.asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.codec import to_wire
from gateway.counters import NO_FINGERPRINT
from gateway.entitlements import Holding
from gateway.outcome import read_outcomes
from gateway.pricing.decision import describe
from gateway.stamp import stamp_of
from gateway.usage_request import UsageRequest
from lua import keys, load
from tests.benchmarks.installation import CUSTOMER, entitlement

client = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"])
script = load("consume")
holding = Holding(CUSTOMER, 1, entitlement())
identity: dict[str, str] = {}


async def consume(request: Request) -> JSONResponse:
    """Decide one request by one script call."""
    body = await request.json()
    now_ms = time.time_ns() // 1_000_000
    if not identity:
        identity["run_id"] = (await client.info("server"))["run_id"]
        identity["replid"] = (await client.info("replication"))["master_replid"]
        await client.script_load(script.source)
    feature = holding.entitlement.features[body["feature"]]
    prepared = holding.prepare(feature, holding.entitlement, now_ms)
    key_list, args = script.bind(
        meta=keys.meta(holding.bucket),
        log=keys.log(holding.bucket),
        entitlement=holding.key,
        idempotency=keys.idempotency(holding.bucket, 0, 0),
        idempotency_past=keys.idempotency(holding.bucket, 0, 0),
        usage=[prepared.key],
        run_id=identity["run_id"],
        replid=identity["replid"],
        version=1,
        moment=f"{now_ms},0,0,{prepared.ask.valid_from_ms},{prepared.ask.valid_until_ms}",
        field=b"",
        fingerprint=NO_FINGERPRINT,
        forget_ms=0,
        customer=CUSTOMER,
        stamp=stamp_of(UsageRequest(customer=CUSTOMER, source="bench"), 1, "pro", 1),
        items=prepared.operands(int(body.get("quantity", 1))),
    )
    reply = await client.evalsha(script.sha, len(key_list), *key_list, *args)
    decision = describe(
        prepared.ask,
        read_outcomes(reply)[0],
        at_ms=reply[1],
        decision_id=f"{holding.bucket:04d}-{reply[2]}-{reply[3]}",
    )
    return JSONResponse(to_wire(decision))


app = Starlette(routes=[Route("/v1/consume", consume, methods=["POST"])])
