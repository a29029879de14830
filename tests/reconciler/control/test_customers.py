from urllib.parse import quote

import pytest

from lua import keys
from tests.reconciler.control.plane import Plane


def test_a_put_customer_is_shown_as_it_was_put(plane: Plane) -> None:
    body = {
        "name": "Acme",
        "email": "a@acme.example",
        "address": "1 Road\nTown",
        "taxId": "DE1",
        "tax": {"name": "VAT", "percent": "19", "inclusive": False},
        "currency": "USD",
        "timeZone": "Europe/Berlin",
        "suspended": False,
        "metadata": {"crm": "42"},
    }
    put = plane.ok("PUT", "/v1/customers/acme", body)
    got = plane.ok("GET", "/v1/customers/acme")
    assert {name: got[name] for name in body} == body
    assert put["applied"] is True
    assert got["subscription"] is None


def test_ids_with_slashes_and_braces_are_one_customer(plane: Plane) -> None:
    plane.push()
    for customer in ("a/b", "{x}", "ü %2F", "a" * 255):
        path = f"/v1/customers/{quote(customer, safe='')}"
        assert plane.ok("PUT", path, {})["id"] == customer
        plane.ok("PUT", f"{path}/subscription", {"plan": "free"})
        assert plane.redis.hget(keys.entitlement(customer), "doc")
    assert plane.ask("GET", "/v1/customers/a%2Fb").status == 200
    assert plane.ask("GET", "/v1/customers/a/b").status == 404


@pytest.mark.parametrize("customer", ["a%00b", "a%0Ab", "b" * 256, "%FF", "%C2%85"])
def test_ids_that_no_customer_can_have_are_refused(plane: Plane, customer: str) -> None:
    assert plane.ask("PUT", f"/v1/customers/{customer}", {}).status in (400, 422)


def test_every_fault_of_a_body_is_listed_at_once(plane: Plane) -> None:
    body = {
        "nmae": "Acme",
        "email": 7,
        "timeZone": "Mars/Base",
        "tax": {"name": "VAT", "percent": "19", "rate": 1},
        "suspended": "yes",
    }
    answer = plane.ask("PUT", "/v1/customers/acme", body)
    assert answer.status == 422
    faults = {each["pointer"]: each for each in answer.body["errors"]}
    assert set(faults) == {"/nmae", "/email", "/tax/rate", "/suspended"}
    assert faults["/nmae"]["suggestion"] == "name"


def test_what_is_well_formed_and_wrong_is_listed_together(plane: Plane) -> None:
    body = {
        "timeZone": "Mars/Base",
        "spendCap": "5",
        "tax": {"name": "VAT", "percent": "190"},
    }
    answer = plane.ask("PUT", "/v1/customers/acme", body)
    pointers = {each["pointer"]: each["code"] for each in answer.body["errors"]}
    assert pointers == {
        "/timeZone": "invalid_value",
        "/spendCap": "not_supported_yet",
        "/tax/percent": "invalid_value",
    }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("[]", 422),
        ('{"name": "a", "name": "b"}', 400),
        ('{"metadata": {"x": NaN}}', 400),
        ('{"name": "a\\u0000b"}', 400),
        ('{"name": "\\ud800"}', 400),
        ('{"metadata": {"x": 1.5}}', 422),
        ('{"metadata": {"x": 9007199254740992}}', 400),
        ('{"metadata": {"x": 1e2}}', 400),
        ("[" * 100_000, 400),
        (b"\xff", 400),
    ],
)
def test_bad_bodies_are_clear_errors(plane: Plane, body: str | bytes, status: int) -> None:
    answer = plane.ask("PUT", "/v1/customers/acme", body)
    assert answer.status == status
    assert answer.body["requestId"] == answer.headers["X-Tallygate-Request-Id"]
    assert plane.ask("GET", "/v1/customers/acme").status == 404


def test_a_body_that_is_too_large_is_413(plane: Plane) -> None:
    assert plane.ask("PUT", "/v1/customers/acme", b" " * 9_000_000).status == 413


def test_customers_are_listed_by_id_a_page_at_a_time(plane: Plane) -> None:
    for customer in ("c", "a", "b"):
        plane.ok("PUT", f"/v1/customers/{customer}", {})
    first = plane.ok("GET", "/v1/customers?limit=2")
    assert [each["id"] for each in first["data"]] == ["a", "b"]
    last = plane.ok("GET", f"/v1/customers?limit=2&after={first['next']}")
    assert ([each["id"] for each in last["data"]], last["next"]) == (["c"], None)


def test_an_unknown_query_parameter_is_refused_with_a_suggestion(plane: Plane) -> None:
    answer = plane.ask("GET", "/v1/customers?limt=2")
    assert answer.status == 422
    assert answer.body["errors"][0]["suggestion"] == "limit"


def test_a_suspension_reaches_redis_with_the_answer(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    before = int(plane.redis.hget(keys.entitlement("acme"), "version") or 0)
    plane.ok("PUT", "/v1/customers/acme", {"suspended": True})
    assert int(plane.redis.hget(keys.entitlement("acme"), "version") or 0) > before
    assert plane.ok("GET", "/v1/customers/acme")["suspended"] is True


def test_a_deleted_customer_is_unknown_and_so_are_the_keys(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme", "free")
    plane.ok("POST", "/v1/keys", {"customer": "acme"})
    assert list(plane.redis.scan_iter("tg:key:*"))
    plane.ok("DELETE", "/v1/customers/acme")
    assert plane.ask("GET", "/v1/customers/acme").status == 404
    assert plane.redis.hget(keys.entitlement("acme"), "doc") == b""
    assert not list(plane.redis.scan_iter("tg:key:*"))


def test_a_customer_with_invoices_is_not_deleted(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.run()
    answer = plane.ask("DELETE", "/v1/customers/acme")
    assert (answer.status, answer.body["code"]) == (409, "customer_has_invoices")


def test_the_time_zone_of_a_running_subscription_stays(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    answer = plane.ask("PUT", "/v1/customers/acme", {"timeZone": "Asia/Kolkata"})
    assert (answer.status, answer.body["code"]) == (422, "not_supported_yet")


def test_a_customer_with_unbilled_usage_is_not_deleted(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.consume("acme", 110)
    refused = plane.ask("DELETE", "/v1/customers/acme")
    assert (refused.status, refused.body["code"]) == (409, "customer_has_unbilled_usage")
    assert "1 for api_calls" in refused.body["detail"]
    plane.copy()
    plane.redis.flushall()
    refused = plane.ask("DELETE", "/v1/customers/acme")
    assert (refused.status, refused.body["code"]) == (409, "customer_has_unbilled_usage")


def test_a_customer_who_owes_nothing_is_deleted(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme", "free")
    plane.consume("acme", 5)
    plane.copy()
    assert plane.ask("DELETE", "/v1/customers/acme").status == 200
