"""Whether this gateway lives, and whether it can be trusted with traffic."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import hiredis

from gateway.connection import Connection
from gateway.errors import Fault, GatewayError, Unavailable
from gateway.settings import Settings
from lua import keys

BELIEVED_SECONDS = 1
"""Anyone may ask, so Redis is asked at most this often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at, and what was found."""

    name: str
    ok: bool
    detail: str


class Health:
    """Looks at Redis and its settings, as INFO tells them (managed services refuse CONFIG)."""

    def __init__(
        self, redis: Connection, settings: Settings, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._settings = settings
        self._clock_s = clock_s
        self._found: tuple[float, list[Check]] | None = None

    async def require_ready(self) -> list[Check]:
        """What was checked. Raises Unavailable naming everything that is wrong."""
        if self._found is None or self._found[0] <= self._clock_s():
            checks = await self.look()
            self._found = (self._clock_s() + BELIEVED_SECONDS, checks)
        checks = self._found[1]
        wrong = [check for check in checks if not check.ok]
        if wrong:
            raise Unavailable(
                " ".join(check.detail for check in wrong),
                code="not_ready",
                errors=[Fault(pointer="", code=c.name, detail=c.detail) for c in wrong],
            )
        return checks

    async def look(self) -> list[Check]:
        """Look now, at everything."""
        try:
            info = await self._redis.execute("INFO")
            buckets = await self._redis.execute("HGET", keys.meta(0), "buckets")
        except GatewayError as error:
            return [Check(name="redis", ok=False, detail=f"Redis does not answer: {error}")]
        except hiredis.ReplyError as error:
            detail = f"Redis answers, but its settings cannot be read: {error}."
            return [Check(name="redis", ok=True, detail=detail)]
        return [*_redis_checks(_facts(info), self._settings.accept_loss), _bucket_check(buckets)]


def _facts(info: object) -> dict[str, str]:
    text = info.decode() if isinstance(info, bytes) else str(info)
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def _redis_checks(facts: dict[str, str], accepted: frozenset[str]) -> list[Check]:
    version = facts.get("valkey_version") or facts.get("redis_version", "unknown")
    role = facts.get("role", "master")
    policy = facts.get("maxmemory_policy", "unreadable")
    append_only = facts.get("aof_enabled", "unreadable")
    loss = " Name it in TALLYGATE_ACCEPT_LOSS ({}) to run without."
    return [
        Check(name="redis", ok=True, detail=f"Redis {version} answers."),
        Check(
            name="role",
            ok=role == "master",
            detail="Redis takes writes." if role == "master" else f"Redis is a {role}.",
        ),
        Check(
            name="eviction",
            ok=policy in ("noeviction", "unreadable") or "eviction" in accepted,
            detail=f"maxmemory-policy is {policy}."
            + ("" if policy == "noeviction" else " It must be noeviction, or full counters vanish.")
            + ("" if policy == "noeviction" else loss.format("eviction")),
        ),
        Check(
            name="persistence",
            ok=append_only in ("1", "unreadable") or "persistence" in accepted,
            detail="appendonly is on."
            if append_only == "1"
            else f"appendonly is {'off' if append_only == '0' else append_only}:"
            " a restart of Redis loses decisions." + loss.format("persistence"),
        ),
    ]


def _bucket_check(reply: object) -> Check:
    if reply is None:
        detail = "Redis is not adopted yet: no reconciler has opened its buckets."
        return Check(name="buckets", ok=False, detail=detail)
    found = reply.decode() if isinstance(reply, bytes) else str(reply)
    return Check(
        name="buckets",
        ok=found == str(keys.BUCKETS),
        detail=f"This installation has {found} buckets; this release works with {keys.BUCKETS}.",
    )
