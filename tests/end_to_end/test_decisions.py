"""What a denial says and does not do, when the next window opens, and what a repeated request does."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import redis

from tests.end_to_end.books import ledger_row
from tests.end_to_end.installation import LEDGER_TIMEOUT_S, Installation, wait_until
from tests.end_to_end.load import consume_at_once, reasons

CATALOG = """
currency: USD
features:
  api_calls: {name: API calls, unit: call}
  jobs: {name: Jobs, unit: job}
plans:
  small: {name: Small, price: 10, features: {api_calls: {included: 5, reset: hour}}}
  large: {name: Large, price: 20, features: {api_calls: {included: 50, reset: hour}}}
  stacked:
    name: Stacked
    price: 30
    features:
      api_calls:
        included: unlimited
        limits: [{max: 100, every: hour}, {max: 150, every: day}]
      jobs: {included: 3, reset: day}
links: {upgrade: "https://app.example.com/upgrade?plan={plan}"}
"""


@pytest.fixture(scope="module")
def installation(running: Installation) -> Installation:
    running.push(CATALOG)
    return running


def everything(installation: Installation) -> dict[bytes, Any]:
    """Every key of Redis with its value, the capped list of denials left out."""
    client = redis.Redis.from_url(installation.redis_url)
    dumps = {key: client.dump(key) for key in client.scan_iter(count=1000) if b":denied" not in key}
    client.close()
    return dumps


def move_clock(installation: Installation, to: str) -> None:
    installation.control("POST", "/v1/clock", {"set": to})


def spend(installation: Installation, customer: str, feature: str, times: int) -> None:
    for _ in range(times):
        assert installation.consume(customer, feature)["allowed"]


def test_a_denial_says_why_what_is_left_when_it_resets_and_what_can_be_done(
    installation: Installation,
) -> None:
    installation.customer("said", "small")
    spend(installation, "said", "api_calls", 3)
    denied = installation.consume("said", "api_calls", 3)
    assert (denied["allowed"], denied["reason"], denied["httpStatus"]) == (
        False, "allowance_exhausted", 429,
    )  # fmt: skip
    assert (denied["balance"], denied["available"], denied["used"], denied["limit"]) == (2, 2, 3, 5)
    assert denied["resetsAt"].endswith(":00:00Z")
    assert 0 < denied["retryAfterMs"] <= 3_600_000
    assert denied["decision"].startswith("d-")
    assert denied["message"]
    wait, upgrade = denied["actions"]
    assert wait == {"type": "wait", "until": denied["resetsAt"]}
    assert (upgrade["type"], upgrade["plan"]) == ("upgrade", "large")
    assert upgrade["url"] == "https://app.example.com/upgrade?plan=large"


def test_a_denial_changes_nothing_and_leaves_room_for_what_still_fits(
    installation: Installation,
) -> None:
    installation.customer("untouched", "small")
    spend(installation, "untouched", "api_calls", 3)
    before = everything(installation)
    for _ in range(20):
        assert not installation.consume("untouched", "api_calls", 3)["allowed"]
    assert everything(installation) == before
    assert installation.consume("untouched", "api_calls", 2)["allowed"]


def test_the_next_window_lets_the_customer_in_at_the_boundary_and_not_before(
    installation: Installation,
) -> None:
    installation.customer("boundary", "small")
    spend(installation, "boundary", "api_calls", 5)
    resets_at = datetime.fromisoformat(installation.consume("boundary", "api_calls")["resetsAt"])
    just_before = resets_at - timedelta(seconds=20)
    move_clock(installation, f"{just_before:%Y-%m-%dT%H:%M:%SZ}")
    assert not installation.consume("boundary", "api_calls")["allowed"]
    move_clock(installation, f"{resets_at:%Y-%m-%dT%H:%M:%SZ}")
    entered = installation.consume("boundary", "api_calls")
    assert (entered["allowed"], entered["used"], entered["balance"]) == (True, 1, 4)
    next_at = datetime.fromisoformat(entered["resetsAt"])
    assert next_at - resets_at == timedelta(hours=1)


def test_a_subscription_that_has_not_begun_lets_in_at_its_beginning(
    installation: Installation,
) -> None:
    now = datetime.fromisoformat(installation.control("GET", "/v1/clock")["now"])
    starts_at = f"{now + timedelta(days=400):%Y-%m-%dT%H:%M:%SZ}"
    installation.customer("later", "small", startsAt=starts_at)
    assert installation.consume("later", "api_calls")["reason"] == "subscription_ended"
    move_clock(installation, starts_at)
    assert installation.consume("later", "api_calls")["allowed"]


def test_a_customer_without_a_subscription_is_known_and_may_nothing(
    installation: Installation,
) -> None:
    installation.control("PUT", "/v1/customers/bare", {"name": "Bare"})
    denied = installation.consume("bare", "api_calls")
    assert (denied["reason"], denied["httpStatus"], denied["plan"]) == (
        "subscription_ended",
        403,
        None,
    )
    assert denied["message"] == "bare has no running subscription."
    assert installation.consume("nobody", "api_calls")["reason"] == "customer_unknown"
    installation.customer("bare", "small")
    assert installation.consume("bare", "api_calls")["allowed"]


def test_the_balances_of_a_suspended_customer_say_what_a_check_says(
    installation: Installation,
) -> None:
    installation.customer("paused", "small")
    spend(installation, "paused", "api_calls", 2)
    assert installation.balance("paused", "api_calls")["allowed"]
    installation.control("PUT", "/v1/customers/paused", {"suspended": True})
    body = {"customer": "paused", "feature": "api_calls"}
    checked = installation.gateway("POST", "/v1/check", body).ok()
    shown = installation.balance("paused", "api_calls")
    for name in ("allowed", "reason", "httpStatus", "message", "balance", "available"):
        assert shown[name] == checked[name], name
    assert (shown["reason"], shown["used"], shown["limit"]) == ("customer_suspended", 2, 5)


def test_no_increment_moves_the_moment_a_counter_expires(installation: Installation) -> None:
    installation.customer("kept", "small")
    client = redis.Redis.from_url(installation.redis_url)
    spend(installation, "kept", "api_calls", 1)
    (key,) = client.scan_iter("*:use:kept:*", count=5000)
    expires = client.pexpiretime(key)
    assert expires > 0
    spend(installation, "kept", "api_calls", 3)
    assert client.pexpiretime(key) == expires
    client.close()


def test_a_request_that_one_of_two_limits_refuses_is_charged_to_neither(
    installation: Installation,
) -> None:
    installation.customer("stacked", "stacked")
    assert installation.consume("stacked", "api_calls", 90)["allowed"]
    hourly = installation.consume("stacked", "api_calls", 20)
    assert (hourly["reason"], hourly["limit"]) == ("limit_reached", 100)
    resets_at = hourly["resetsAt"]
    move_clock(installation, resets_at)
    daily = installation.consume("stacked", "api_calls", 70)
    # An hour that begins a day starts both windows anew.
    if resets_at.endswith("T00:00:00Z"):
        pytest.skip("midnight came between")
    assert (daily["reason"], daily["limit"]) == ("limit_reached", 150)
    used = {each["name"]: each["used"] for each in daily["windows"]}
    assert (used["api_calls.hour"], used["api_calls.day"]) == (0, 90)
    assert installation.consume("stacked", "api_calls", 60)["allowed"]


def test_of_two_features_in_one_request_none_is_charged_when_one_is_refused(
    installation: Installation,
) -> None:
    installation.customer("both", "stacked")
    items = [{"feature": "api_calls", "quantity": 1}, {"feature": "jobs", "quantity": 4}]
    answer = installation.gateway("POST", "/v1/consume", {"customer": "both", "items": items}).ok()
    assert [item["reason"] for item in answer["items"]] == ["not_attempted", "allowance_exhausted"]
    assert installation.balance("both", "api_calls")["used"] == 0
    assert installation.balance("both", "jobs")["used"] == 0


def test_the_same_key_twice_is_one_effect_and_the_same_decision(installation: Installation) -> None:
    installation.customer("twice", "small")
    body = {"customer": "twice", "feature": "api_calls", "idempotencyKey": "k1"}
    first, second = (installation.gateway("POST", "/v1/consume", body) for _ in range(2))
    assert first.ok() == second.ok()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert installation.balance("twice", "api_calls")["used"] == 1


def test_the_same_key_fifty_times_at_once_is_one_effect_and_the_same_decision(
    installation: Installation,
) -> None:
    installation.customer("fifty", "small")
    body = {"customer": "fifty", "feature": "api_calls", "idempotencyKey": "k1"}
    answers = consume_at_once(installation, [body] * 50, clients=50)
    assert {answer["decision"] for answer in answers} == {answers[0]["decision"]}
    assert reasons(answers) == {"included": 50}
    assert {answer["balance"] for answer in answers} == {4}
    assert sum("Idempotent-Replayed" in answer["headers"] for answer in answers) == 49
    assert installation.balance("fifty", "api_calls")["used"] == 1


def test_another_payload_under_the_same_key_is_422(installation: Installation) -> None:
    installation.customer("other", "small")
    body = {"customer": "other", "feature": "api_calls", "idempotencyKey": "k1"}
    installation.gateway("POST", "/v1/consume", body).ok()
    answer = installation.gateway("POST", "/v1/consume", {**body, "quantity": 2})
    assert answer.status == 422
    assert installation.balance("other", "api_calls")["used"] == 1


def test_every_allowed_decision_reaches_the_ledger_once(installation: Installation) -> None:
    installation.customer("ledger", "small")
    spend(installation, "ledger", "api_calls", 2)
    assert not installation.consume("ledger", "api_calls", 4)["allowed"]
    wait_until(lambda: ledger_row(installation, "ledger")[:2] == (2, 2), LEDGER_TIMEOUT_S)
