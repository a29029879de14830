"""Commands packed from kept parts are the commands packed anew."""

from types import SimpleNamespace
from typing import Any

import hiredis
import pytest

from gateway.connection import Identity
from gateway.counters import Counters
from gateway.entitlements import Holding
from gateway.metrics import Metrics
from gateway.usage_request import UsageRequest
from lua import load
from tests.lua.calls import entitlement, feature, limit, per_unit


def unpacked(packed: bytes) -> list[bytes]:
    reader = hiredis.Reader()
    reader.feed(packed)
    found: list[bytes] = reader.gets()
    return found


@pytest.mark.parametrize("verb", ["consume", "check", "track"])
@pytest.mark.parametrize("fence", ["connection", "script"])
def test_the_usual_command_is_the_general_one(verb: str, fence: str) -> None:
    connection: Any = SimpleNamespace(identity=Identity(run_id="r" * 40, replid="p" * 40))
    counters = Counters(connection, Metrics(), fence=fence)
    customer = "acme }ü"
    one = feature(limits=(limit(5, "day"),), overage="charge", price=per_unit("0.1"))
    holding = Holding(customer, 7, entitlement(one, customer=customer))
    at_ms = 1_795_000_000_000
    prepared = (holding.prepare(one, holding.entitlement, at_ms), 12)
    request = UsageRequest(customer=customer, source="key", metadata={"route": "/x"})
    bucket = counters._bucket(holding.bucket)
    for _ in range(2):
        usual = counters._pack_usual(verb, bucket, holding, prepared, request, at_ms)
        general = counters._pack(verb, bucket, holding, [prepared], request, None, at_ms)
        assert usual == general
        assert len(unpacked(usual)) == 3 + 6 + 9 + 6
        assert unpacked(usual)[1].decode() == load(verb).sha
        bucket.seq += 1
