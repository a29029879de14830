"""Writes log entries in the scripts' format, for tests that need a log and no decisions."""

from dataclasses import dataclass, field
from typing import Any

import msgpack
from redis import Redis

from lua import keys

PERIOD = (1_761_955_200_000, 1_764_547_200_000)
"""November 2025 in UTC."""
AT_MS = PERIOD[0] + 86_400_000


def entry(
    customer: str = "acme",
    feature: str = "api_calls",
    *,
    quantity: int = 1,
    used_after: int = 1,
    at_ms: int = AT_MS,
    **changes: Any,
) -> dict[str, Any]:
    """One log entry over one feature, all of it included."""
    stamp = {"e": 1, "p": "pro", "c": 1, "k": "svc", "r": "req-1", "m": {"route": "/search"}}
    item = [feature, quantity, quantity, 0, 0, 0, 0, 0, *PERIOD, 1, used_after, 0]
    return {
        "f": "1",
        "v": "consume",
        "t": str(at_ms),
        "c": customer,
        "s": msgpack.packb(stamp),
        "i": ",".join(str(value) for value in item),
        **changes,
    }


def as_read(fields: dict[str, Any]) -> dict[bytes, bytes]:
    """The same entry as a client that decodes nothing reads it."""
    return {
        name.encode(): value if isinstance(value, bytes) else value.encode()
        for name, value in fields.items()
    }


@dataclass(slots=True, kw_only=True)
class FakeLog:
    """Appends to the logs of customers as a script would, keeping each bucket's sequence."""

    redis: Redis
    epoch: int = 1
    seqs: dict[int, int] = field(default_factory=dict)
    used: dict[tuple[str, str], int] = field(default_factory=dict)

    def consume(
        self, customer: str, quantity: int = 1, feature: str = "api_calls", **changes: Any
    ) -> str:
        """Append one decision; returns its id."""
        bucket = keys.bucket_of(customer)
        self.seqs[bucket] = self.seqs.get(bucket, 0) + 1
        self.used[customer, feature] = self.used.get((customer, feature), 0) + quantity
        fields = entry(
            customer,
            feature,
            quantity=quantity,
            used_after=self.used[customer, feature],
            **changes,
        )
        self.redis.xadd(keys.log(bucket), fields, id=f"{self.epoch}-{self.seqs[bucket]}")
        self.redis.hset(keys.meta(bucket), mapping={"epoch": self.epoch, "seq": self.seqs[bucket]})
        return f"{bucket:04d}-{self.epoch}-{self.seqs[bucket]}"
