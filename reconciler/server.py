"""Which Redis process we are talking to, and which buckets know it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redis import Redis

from lua import keys


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A server's identity: it changes with every restart, failover and restore."""

    run_id: str
    replid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketMeta:
    """A bucket's `meta`; zeros and empty texts where it has none."""

    run_id: str
    replid: str
    epoch: int
    seq: int
    offset_ms: int

    def knows(self, server: RedisServer) -> bool:
        """Was the bucket adopted on this server, as it is now?"""
        return (self.run_id, self.replid) == (server.run_id, server.replid)


def server_of(redis: "Redis") -> RedisServer:
    """Ask the server who it is."""
    server: Any = redis.info("server")
    replication: Any = redis.info("replication")
    return RedisServer(run_id=str(server["run_id"]), replid=str(replication["master_replid"]))


def read_metas(redis: "Redis", buckets: Iterable[int]) -> dict[int, BucketMeta]:
    """The metas of some buckets, in one round trip."""
    wanted = list(buckets)
    pipeline = redis.pipeline(transaction=False)
    for bucket in wanted:
        pipeline.hmget(keys.meta(bucket), "run_id", "replid", "epoch", "seq", "offset_ms")
    return {
        bucket: BucketMeta(
            run_id=(run_id or b"").decode(),
            replid=(replid or b"").decode(),
            epoch=int(epoch or 0),
            seq=int(seq or 0),
            offset_ms=int(offset_ms or 0),
        )
        for bucket, (run_id, replid, epoch, seq, offset_ms) in zip(
            wanted, pipeline.execute(), strict=True
        )
    }
