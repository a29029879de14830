"""Usage, decisions and reconciliation: what the control plane tells of the past."""

import json
from typing import Any

from tests.reconciler.control.plane import Plane


def deny(plane: Plane, decision: str, at: str, reason: str = "allowance_exhausted") -> None:
    """A denial as the loop stores it."""
    doc = {"allowed": False, "reason": reason, "customer": "acme", "feature": "api_calls"}
    plane.connection.execute(
        "INSERT INTO tg.denials (id, at, customer, feature, quantity, reason, doc)"
        " VALUES (%s, %s, 'acme', 'api_calls', 1, %s, %s)",
        [decision, at, reason, json.dumps(doc)],
    )


def used(plane: Plane) -> tuple[Any, str]:
    plane.push()
    plane.subscribe("acme")
    reply = plane.consume("acme", 7)
    plane.consume("acme", 8)
    plane.consume("acme", 250_000, "data")
    plane.copy()
    return reply, plane.ok("GET", "/v1/clock")["now"]


def test_usage_is_summed_by_day_with_its_denials(plane: Plane) -> None:
    _, now = used(plane)
    deny(plane, "d-1", now)
    rows = {row["feature"]: row for row in plane.ok("GET", "/v1/customers/acme/usage")["data"]}
    calls = rows["api_calls"]
    assert (calls["used"], calls["included"], calls["overage"]) == (15, 10, 5)
    assert (calls["denied"], calls["cost"]) == (1, "0.05")
    assert (rows["data"]["used"], rows["data"]["included"]) == ("0.250000", "0.250000")


def test_usage_by_hour_follows_the_customers_zone(plane: Plane) -> None:
    plane.push()
    plane.ok("PUT", "/v1/customers/acme", {"timeZone": "Asia/Kolkata"})
    plane.ok("PUT", "/v1/customers/acme/subscription", {"plan": "pro"})
    plane.consume("acme", 3)
    plane.copy()
    (hour,) = plane.ok("GET", "/v1/customers/acme/usage?by=hour")["data"]
    assert hour["start"][14:] == "30:00Z"
    (day,) = plane.ok("GET", "/v1/customers/acme/usage?by=day")["data"]
    assert day["start"][11:] == "18:30:00Z"


def test_usage_is_paged_and_half_open(plane: Plane) -> None:
    used(plane)
    first = plane.ok("GET", "/v1/customers/acme/usage?limit=1")
    rest = plane.ok("GET", f"/v1/customers/acme/usage?limit=1&after={first['next']}")
    assert [page["data"][0]["feature"] for page in (first, rest)] == ["api_calls", "data"]
    assert rest["next"] is None
    empty = "/v1/customers/acme/usage?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z"
    assert plane.ok("GET", empty)["data"] == []


def test_decisions_are_listed_newest_first_with_denials(plane: Plane) -> None:
    _, now = used(plane)
    deny(plane, "d-1", now)
    listed = plane.ok("GET", "/v1/customers/acme/decisions")["data"]
    assert [each["allowed"] for each in listed] == [False, True, True, True]
    only = plane.ok("GET", "/v1/customers/acme/decisions?allowed=true&feature=api_calls")["data"]
    assert [each["reason"] for each in only] == ["overage", "included"]
    (denied,) = plane.ok("GET", "/v1/customers/acme/decisions?reason=allowance_exhausted")["data"]
    assert denied["decision"] == "d-1"


def test_decisions_are_paged_without_a_gap(plane: Plane) -> None:
    used(plane)
    seen, after = [], ""
    for _ in range(4):
        page = plane.ok("GET", f"/v1/customers/acme/decisions?limit=1{after}")
        seen += [each["decision"] for each in page["data"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert len(set(seen)) == len(seen) == 3


def test_decisions_and_denials_of_one_instant_are_paged_without_a_gap(plane: Plane) -> None:
    used(plane)
    with plane.connection.transaction():
        plane.connection.execute("SET LOCAL session_replication_role = replica")
        plane.connection.execute("UPDATE tg.decisions SET at = date_trunc('second', at)")
    found = plane.connection.execute("SELECT max(at)::text FROM tg.decisions").fetchone()
    assert found is not None
    for number in range(3):
        deny(plane, f"d-{number}", found[0])
    seen, after = [], ""
    while after is not None and len(seen) < 9:
        path = f"/v1/customers/acme/decisions?limit=2{after and '&after='}{after}"
        page = plane.ok("GET", path)
        seen += [each["decision"] for each in page["data"]]
        after = page["next"]
    assert len(set(seen)) == len(seen) == 6


def test_what_an_unenforced_feature_let_through_was_observed(plane: Plane) -> None:
    plane.push()
    overrides = {"features": {"api_calls": {"enforce": False}}}
    plane.subscribe("acme", "free", overrides=overrides)
    reply = plane.consume("acme", 101)
    path = f"/v1/decisions/{plane.calls['acme'].bucket:04d}-{reply.epoch}-{reply.seq}"
    assert plane.ok("GET", path)["reason"] == "observed"
    plane.copy()
    assert plane.ok("GET", path)["reason"] == "observed"
    listed = plane.ok("GET", "/v1/customers/acme/decisions?reason=observed")["data"]
    assert [each["sources"]["beyond"] for each in listed] == [1]


def test_a_decision_is_found_by_its_id_in_the_ledger_and_before(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    reply = plane.consume("acme", 12)
    bucket = plane.calls["acme"].bucket
    path = f"/v1/decisions/{bucket:04d}-{reply.epoch}-{reply.seq}"
    in_log = plane.ok("GET", path)
    plane.copy()
    in_ledger = plane.ok("GET", path)
    assert in_log == in_ledger
    assert in_ledger["sources"] == {"included": 10, "rollover": 0, "credits": 0, "overage": 2}
    assert (in_ledger["cost"], in_ledger["currency"], in_ledger["plan"]) == ("0.02", "USD", "pro")


def test_a_denial_is_found_by_its_id(plane: Plane) -> None:
    _, now = used(plane)
    deny(plane, "d-42", now)
    assert plane.ok("GET", "/v1/decisions/d-42")["reason"] == "allowance_exhausted"
    for unknown in ("d-43", "0000-1-1", "9999-1-1", "x"):
        assert plane.ask("GET", f"/v1/decisions/{unknown}").status == 404


def test_ids_and_cursors_that_nobody_gave_are_clear_errors(plane: Plane) -> None:
    plane.ok("PUT", "/v1/customers/acme", {})
    for path in ("/v1/decisions/%00", "/v1/invoices/%00", "/v1/keys/%00", "/v1/keys/%FF"):
        assert plane.ask("GET", path).status == 400
    for after in ("x", "W10", "WzQ1MDM1OTk2MjczNzA0OTUsICJhIl0", "WzEsICJcdWQ4MDAiXQ", "%C3%BC"):
        for path in ("/v1/keys", "/v1/invoices", "/v1/customers/acme/usage"):
            assert plane.ask("GET", f"{path}?after={after}").status == 422, (path, after)


def test_reconciliation_shows_lag_until_the_log_is_copied(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.consume("acme")
    plane.consume("acme")
    behind = plane.ok("GET", "/v1/reconciliation")
    assert (behind["lag"]["entries"], behind["lag"]["buckets"]) == (2, 1)
    assert behind["buckets"] == {"total": 1024, "adopted": 1024}
    plane.copy()
    level = plane.ok("GET", "/v1/reconciliation?verify=true")
    assert level["lag"] == {"entries": 0, "milliseconds": 0, "buckets": 0}
    assert level["drift"] == []
    assert level["notInRedis"] == {"entitlements": 0, "keys": 0}
