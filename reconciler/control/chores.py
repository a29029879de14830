"""What requests could not finish themselves: pushes to a Redis that was away, moves to a new catalog."""

import logging

import psycopg
import redis
from psycopg_pool import PoolTimeout

from reconciler.catalog_moves import move_a_page
from reconciler.control.call import Parts
from reconciler.publisher import push_pending

PAGES_MAX = 20
"""Pages of a catalog move in one round; the next round goes on."""

log = logging.getLogger(__name__)


def do_chores(parts: Parts) -> None:
    """One round. A store that is away is for the next round, and never stops the rounds."""
    try:
        with parts.postgres() as connection:
            for _ in range(PAGES_MAX):
                if not move_a_page(connection, at_ms=parts.clock.now_ms(connection)):
                    break
                push_pending(connection, parts.redis)
            push_pending(connection, parts.redis)
    except (psycopg.OperationalError, PoolTimeout, redis.RedisError) as error:
        log.warning("a store is away; chores wait", extra={"error": str(error)})
    except Exception:
        log.exception("a chore failed")
