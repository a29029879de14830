"""Bad input of every kind gets a clear error and leaves Redis as it was."""

import json
from typing import Any

import msgpack
import pytest
import redis

from tests.end_to_end.installation import Answer, Installation

CATALOG = """
currency: USD
features:
  api_calls: {name: API calls, unit: call}
  traffic: {name: Traffic, unit: GB, scale: 6}
plans:
  pro: {name: Pro, features: {api_calls: {included: 1000, reset: month}, traffic: {included: 10}}}
"""
GOOD = {"customer": "acme", "feature": "api_calls", "quantity": 1}


@pytest.fixture(scope="module")
def installation(running: Installation) -> Installation:
    running.push(CATALOG)
    running.customer("acme", "pro")
    running.consume("acme", "api_calls")
    running.consume("acme", "traffic", "0.5")
    return running


def everything(installation: Installation) -> dict[bytes, Any]:
    client = redis.Redis.from_url(installation.redis_url)
    found = {key: client.dump(key) for key in client.scan_iter(count=5000) if b":denied" not in key}
    client.close()
    return found


def refused(installation: Installation, path: str, body: Any, **headers: str) -> Answer:
    """The answer to a bad request: a 4xx problem that says something, and Redis as it was."""
    before = everything(installation)
    headers.setdefault("Content-Type", "application/json")
    answer = installation.ask(installation.gateway_url, "POST", path, body, **headers)
    assert 400 <= answer.status < 500, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.body if isinstance(answer.body, dict) else json.loads(answer.body)
    assert problem["detail"]
    assert problem["status"] == answer.status
    assert problem["requestId"] == answer.headers["X-Tallygate-Request-Id"]
    assert everything(installation) == before
    return Answer(status=answer.status, headers=answer.headers, body=problem)


def with_quantity(feature: str, quantity: str) -> str:
    """A request whose quantity is this text, whatever JSON makes of it."""
    return f'{{"customer": "acme", "feature": "{feature}", "quantity": {quantity}}}'


@pytest.mark.parametrize(
    "quantity",
    [
        "NaN", "Infinity", "-1", "1.5", "1e3", "1.0", "true", "[]", "{}", "9007199254740992",
        "123456789012345678901234567890", '"nan"', '"-1"', '"1e3"', '"0x10"', '""', '" 1"', '"1,000"',
        '"9007199254740992"', '"1.5"', '"٣"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["consume", "check", "track"])
def test_a_quantity_that_is_no_exact_number_of_units(
    installation: Installation, verb: str, quantity: str
) -> None:
    body = with_quantity("api_calls", quantity)
    refused(installation, f"/v1/{verb}", body)


@pytest.mark.parametrize("quantity", ["0.1", "0.0000001", '"0.0000001"', '"9007199254.740992"'])
def test_a_quantity_beyond_the_scale_of_its_feature(
    installation: Installation, quantity: str
) -> None:
    body = with_quantity("traffic", quantity)
    refused(installation, "/v1/consume", body)


def test_a_number_with_a_fraction_is_told_how_to_be_written(installation: Installation) -> None:
    body = with_quantity("traffic", "1.25")
    problem = refused(installation, "/v1/consume", body)
    assert problem.status == 422
    assert problem.body["code"] == "quantity_not_exact"
    assert '"1.25"' in problem.body["detail"]


def test_an_unknown_name_is_422_with_a_suggestion(installation: Installation) -> None:
    body = {"customer": "acme", "feature": "api_calls", "quantityy": 1}
    problem = refused(installation, "/v1/consume", json.dumps(body))
    assert problem.status == 422
    assert "quantity" in problem.body["errors"][0]["detail"]
    assert problem.body["errors"][0]["pointer"] == "/quantityy"


@pytest.mark.parametrize(
    "customer", ["", "x" * 256, "a\x00b", "a\nb", "\x7f", 7, None, True, ["a"]]
)
def test_an_id_that_no_customer_can_have(installation: Installation, customer: Any) -> None:
    refused(installation, "/v1/consume", json.dumps({**GOOD, "customer": customer}))


@pytest.mark.parametrize("customer", ["{acme}", "acme}", "tg:{b0001}:meta", "*", "a/b", "ü", "%"])
def test_an_unknown_customer_is_a_denial_that_writes_nothing(
    installation: Installation, customer: str
) -> None:
    before = everything(installation)
    denied = installation.consume(customer, "api_calls")
    assert (denied["allowed"], denied["reason"], denied["httpStatus"]) == (
        False, "customer_unknown", 403,
    )  # fmt: skip
    assert everything(installation) == before
    assert (
        refused(installation, "/v1/track", json.dumps({**GOOD, "customer": customer})).status == 404
    )


def test_a_feature_that_nobody_knows_is_a_denial_and_404_for_track(
    installation: Installation,
) -> None:
    assert installation.consume("acme", "nothing")["reason"] == "feature_unknown"
    problem = refused(installation, "/v1/track", json.dumps({**GOOD, "feature": "nothing"}))
    assert problem.status == 404


def test_customers_with_braces_and_slashes_in_their_ids_are_customers_like_others(
    installation: Installation,
) -> None:
    for name in ("{b0001}", "a/b?c#d", "Zoë %41", "customer"):
        installation.customer(name, "pro")
        assert installation.consume(name, "api_calls")["used"] == 1
        assert installation.balance(name, "api_calls")["used"] == 1


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "7", '"x"', "{}", "\xff", "[" * 100_000])
def test_a_body_that_is_no_request(installation: Installation, body: str) -> None:
    refused(installation, "/v1/consume", body.encode("latin-1"))


def test_a_body_that_is_too_large_is_413(installation: Installation) -> None:
    body = json.dumps({**GOOD, "metadata": {"a": "x" * 2_000_000}})
    assert refused(installation, "/v1/consume", body).status == 413


def test_a_media_type_that_is_not_spoken_is_415(installation: Installation) -> None:
    answer = refused(installation, "/v1/consume", json.dumps(GOOD), **{"Content-Type": "text/xml"})
    assert answer.status == 415


def test_a_float_in_msgpack_is_refused_and_an_integer_is_not(installation: Installation) -> None:
    spoken = {"Content-Type": "application/msgpack", "Accept": "application/json"}
    body = msgpack.packb({**GOOD, "quantity": 1.0})
    assert refused(installation, "/v1/consume", body, **spoken).status == 422


@pytest.mark.parametrize(
    "more",
    [
        {"idempotencyKey": ""},
        {"idempotencyKey": "x" * 256},
        {"idempotencyKey": "a\nb"},
        {"idempotencyKey": 7},
        {"metadata": {str(n): "x" for n in range(17)}},
        {"metadata": {"a": "x" * 513}},
        {"metadata": {"a": {"b": 1}}},
        {"entity": {"team": "search"}},
        {"items": []},
        {"items": [{"feature": "api_calls"}] * 1000},
        {"items": "api_calls"},
        {"usage": {"input": 1}},
        {"at": "yesterday"},
    ],
)
def test_a_field_that_is_not_what_it_should_be(
    installation: Installation, more: dict[str, Any]
) -> None:
    refused(installation, "/v1/consume", json.dumps({**GOOD, **more}))


def test_keys_that_contradict_or_are_unknown(installation: Installation) -> None:
    body = json.dumps(GOOD)
    assert refused(installation, "/v1/consume", body, Authorization="Bearer no").status == 401
    assert refused(installation, "/v1/consume", body, **{"X-API-Key": "other"}).status == 400


def test_one_bad_request_of_a_batch_does_not_spoil_the_others(installation: Installation) -> None:
    batch = [GOOD, {**GOOD, "quantity": -1}, {**GOOD, "customer": "nobody"}]
    answers = installation.gateway("POST", "/v1/consume", {"batch": batch}).ok()["batch"]
    assert answers[0]["allowed"]
    assert answers[1]["status"] == 422
    assert answers[2]["reason"] == "customer_unknown"


BAD_CATALOG = """
currency: USD
features:
  api_calls: {name: API calls, unit: call}
plans:
  pro:
    name: Pro
    featurs: {}
    features: {api_cals: {included: "20,000"}}
"""


def test_a_catalog_with_mistakes_lists_each_with_its_line_and_a_suggestion(
    installation: Installation,
) -> None:
    before = everything(installation)
    answer = installation.ask(
        installation.control_url,
        "PUT",
        "/v1/catalog",
        BAD_CATALOG,
        **{"Content-Type": "application/yaml"},
    )
    assert answer.status == 422
    assert [(each["line"], each["column"], each["suggestion"]) for each in answer.body["errors"]] == [
        (8, 5, "features"), (9, 16, "api_calls"), (9, 37, "20000"),
    ]  # fmt: skip
    assert everything(installation) == before


@pytest.mark.parametrize("wish", ["rollover: {max: 5}", "limits: [{max: 5, concurrent: true}]"])
def test_what_a_catalog_may_say_but_is_not_there_yet_is_refused_by_name(
    installation: Installation, wish: str
) -> None:
    catalog = CATALOG.replace("included: 1000,", f"included: 1000, {wish},")
    answer = installation.ask(
        installation.control_url,
        "PUT",
        "/v1/catalog",
        catalog,
        **{"Content-Type": "application/yaml"},
    )
    assert answer.status == 422
    assert answer.body["errors"][0]["code"] == "not_supported_yet"
