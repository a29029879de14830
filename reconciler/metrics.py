"""What the reconciler counts about itself; the names are contract."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

REGISTRY = CollectorRegistry()

LAG_SECONDS = Gauge(
    "tallygate_ledger_lag_seconds",
    "Age of the oldest decision that is in the log and not yet in Postgres.",
    registry=REGISTRY,
)
LAG_ENTRIES = Gauge(
    "tallygate_ledger_lag_entries",
    "Decisions that are in the log and not yet in Postgres.",
    registry=REGISTRY,
)
ENTRIES = Counter(
    "tallygate_ledger_entries",
    "Decisions copied from the log to Postgres by this process.",
    registry=REGISTRY,
)
STUCK_BUCKETS = Gauge(
    "tallygate_ledger_stuck_buckets",
    "Buckets whose next log entry cannot be read or stored.",
    registry=REGISTRY,
)
LOSSES = Counter(
    "tallygate_ledger_losses",
    "Stretches of the log that were gone before they were copied.",
    registry=REGISTRY,
)
OUTAGES = Counter(
    "tallygate_reconciler_outages",
    "Times the loop found a store away, by store.",
    ["store"],
    registry=REGISTRY,
)
ADOPTED_BUCKETS = Counter(
    "tallygate_adopted_buckets", "Buckets adopted by this process.", registry=REGISTRY
)
DRIFT = Gauge(
    "tallygate_drift",
    "Differences between counter, log, ledger and invoices that the last round found.",
    ["kind"],
    registry=REGISTRY,
)
REDIS_FULL_SECONDS = Gauge(
    "tallygate_redis_full_seconds",
    "Seconds until Redis is full at the present rate; +Inf when it is not filling or has no limit.",
    registry=REGISTRY,
)


def metrics_endpoint(_: Request) -> Response:
    """GET /metrics."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
