"""Whether the control plane lives, whether it can work, and where to look from here."""

from reconciler.control.call import Answer, Call, Operation, Parts
from reconciler.control.errors import Unavailable

_PAGE = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Tallygate control plane</title>
<style>body { font: 16px/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; }</style>
<h1>Tallygate control plane</h1>
<p>Everything under <code>/v1</code> takes a key: <code>Authorization: Bearer KEY</code>.</p>
<ul>
<li><a href="/openapi.json">/openapi.json</a>: every endpoint
<li><a href="/v1/catalog">/v1/catalog</a>, <a href="/v1/customers">/v1/customers</a>,
    <a href="/v1/invoices">/v1/invoices</a>, <a href="/v1/keys">/v1/keys</a>
<li><a href="/v1/reconciliation">/v1/reconciliation</a>: lag, position, drift
<li><a href="/v1/clock">/v1/clock</a>, <a href="/metrics">/metrics</a>, <a href="/readyz">/readyz</a>
</ul>
</html>
"""


def get_home(parts: Parts, call: Call) -> Answer:
    """A page of links; the console takes its place."""
    return Answer(body=_PAGE, media_type="text/html; charset=utf-8")


def get_health(parts: Parts, call: Call) -> Answer:
    """The process answers."""
    return Answer(body={"status": "ok"})


def get_readiness(parts: Parts, call: Call) -> Answer:
    """Both stores answer; 503 says which does not."""
    with parts.postgres() as connection:
        connection.execute("SELECT 1")
    if not parts.redis.ping():
        raise Unavailable("Redis does not answer.")
    return Answer(body={"status": "ready"})


OPERATIONS = (
    Operation(
        method="GET",
        path="/healthz",
        endpoint=get_health,
        summary="The process answers",
        scope="public",
    ),
    Operation(
        method="GET",
        path="/readyz",
        endpoint=get_readiness,
        summary="Postgres and Redis answer",
        scope="public",
    ),
    Operation(
        method="GET",
        path="/",
        endpoint=get_home,
        summary="A page of links",
        scope="public",
    ),
)
