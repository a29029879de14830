"""What requests could not finish themselves: pushes to a Redis that was away, moves to a new catalog."""

from typing import Any

import psycopg
import redis
import structlog
from psycopg_pool import PoolTimeout

from lua import keys
from reconciler.catalog_moves import live_version, move_a_page
from reconciler.control.call import Parts
from reconciler.publisher import push_catalog, push_pending

PAGES_MAX = 20
"""Pages of a catalog move in one round; the next round goes on."""

log = structlog.get_logger(__name__)


def do_chores(parts: Parts) -> None:
    """One round. A store that is away is for the next round, and never stops the rounds."""
    kept_ms = parts.settings.past_kept_ms
    try:
        with parts.postgres() as connection:
            for _ in range(PAGES_MAX):
                if not move_a_page(connection, at_ms=parts.clock.now_ms(connection)):
                    break
                push_pending(connection, parts.redis, past_kept_ms=kept_ms)
            push_pending(connection, parts.redis, past_kept_ms=kept_ms)
            if _shown_version(parts) != live_version(connection):
                push_catalog(connection, parts.redis)
    except (psycopg.OperationalError, PoolTimeout, redis.RedisError) as error:
        log.warning("a store is away; chores wait", error=str(error))
    except Exception:
        log.exception("a chore failed")


def _shown_version(parts: Parts) -> int | None:
    """The catalog that gateways see."""
    version: Any = parts.redis.hget(keys.CATALOG, "version")
    return None if version is None else int(version)
