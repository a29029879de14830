import json

import http_sfv
import pytest

from gateway.authz.answer import QUOTA_EXCEEDED
from tests.gateway.conftest import settings_for

EVERY_HEADER = (
    "x-tallygate-status",
    "x-tallygate-reason",
    "x-tallygate-customer",
    "x-tallygate-plan",
    "x-tallygate-balance",
    "x-tallygate-resets-at",
    "x-tallygate-decision",
    "ratelimit",
    "ratelimit-policy",
    "x-tallygate-request-id",
)


@pytest.fixture
def acme(world):
    world.customer("acme")
    return world.key("acme-key", customer="acme")


def under_nginx(method, uri, attempt=None):
    headers = [("x-original-method", method), ("x-original-uri", uri)]
    return [*headers, ("x-tallygate-request", attempt)] if attempt else headers


async def nginx(world, key, method="GET", uri="/things", attempt=None):
    headers = under_nginx(method, uri, attempt)
    answer = await world.ask("GET", "/authz/nginx", key=key, headers=headers)
    assert set(EVERY_HEADER) <= set(answer.headers)
    assert len(answer.fields) == len(answer.headers), "no header twice"
    return answer


async def plain(world, key, method="GET", path="/things", headers=None):
    answer = await world.ask(method, f"/authz/plain{path}", key=key, headers=headers)
    assert set(EVERY_HEADER) <= set(answer.headers)
    return answer


def structured(text):
    found = http_sfv.List()
    found.parse(text.encode())
    return {item.value: dict(item.params) for item in found}


async def test_a_customers_key_pays_what_the_route_costs(world, acme):
    answer = await plain(world, acme, "POST", "/v1/search")
    assert answer.status == 200
    assert answer.body == b""
    assert answer.headers["x-tallygate-status"] == "200"
    assert answer.headers["x-tallygate-reason"] == "included"
    assert answer.headers["x-tallygate-customer"] == "acme"
    assert answer.headers["x-tallygate-plan"] == "small"
    assert answer.headers["x-tallygate-balance"] == "2"
    assert answer.headers["x-tallygate-resets-at"].endswith("Z")
    assert answer.headers["x-tallygate-decision"].split("-")[1:] == ["1", "1"]
    assert world.used("acme") == 3


async def test_both_profiles_find_the_same_route(world, acme):
    await nginx(world, acme, "POST", "/v1/search?q=1")
    assert world.used("acme") == 3
    await plain(world, acme, "GET", "/v1//search/")
    assert world.used("acme") == 4


async def test_a_cost_in_parts_of_a_unit_is_exact(world, acme):
    answer = await nginx(world, acme, "PUT", "/files/a")
    assert answer.headers["x-tallygate-balance"] == "1.250000"
    assert world.used("acme", "storage") == 1_250_000
    limits = structured(answer.headers["ratelimit"])
    assert limits["storage.included"]["r"] == 1, "whole units, rounded down"


async def test_a_boolean_feature_is_granted_without_a_counter(world, acme):
    answer = await plain(world, acme, "GET", "/login")
    assert (answer.status, answer.headers["x-tallygate-reason"]) == (200, "granted")
    assert answer.headers["ratelimit"] == ""


async def test_the_rate_limit_fields_are_structured_and_tell_every_window(world, acme):
    answer = await plain(world, acme)
    left = structured(answer.headers["ratelimit"])
    assert {name: part["r"] for name, part in left.items()} == {
        "api_calls.included": 9,
        "api_calls.hour": 4,
        "api_calls.month": 49,
    }
    assert 0 < left["api_calls.hour"]["t"] <= 3600
    policy = structured(answer.headers["ratelimit-policy"])
    assert policy["api_calls.included"] == {"q": 10, "w": 86400}
    assert policy["api_calls.hour"] == {"q": 5, "w": 3600}
    assert policy["api_calls.month"] == {"q": 50}, "a month has no one length"


async def test_a_denial_has_its_own_status_and_says_everything(world, acme):
    for _ in range(5):
        assert (await plain(world, acme)).status == 200
    answer = await plain(world, acme)
    assert answer.status == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-tallygate-reason"] == "limit_reached"
    assert answer.headers["x-tallygate-decision"].startswith("d-")
    assert 1 <= int(answer.headers["retry-after"]) <= 1200
    resets_s = structured(answer.headers["ratelimit"])["api_calls.hour"]["t"]
    assert int(answer.headers["retry-after"]) >= min(resets_s, 1_200)
    body = answer.json
    assert body["type"] == QUOTA_EXCEEDED
    assert body["violated-policies"] == ["api_calls.hour"]
    assert body["status"] == 429
    assert body["actions"][0]["type"] == "wait"
    assert body["requestId"] == answer.headers["x-tallygate-request-id"]
    assert world.used("acme") == 5


async def test_nginx_gets_403_with_the_true_status_beside_it(world, acme):
    for _ in range(5):
        assert (await nginx(world, acme)).status == 200
    answer = await nginx(world, acme)
    assert answer.status == 403
    assert answer.headers["x-tallygate-status"] == "429"
    carried = json.loads(answer.headers["x-tallygate-problem"])
    assert carried == answer.json
    assert carried["status"] == 429
    assert carried["violated-policies"] == ["api_calls.hour"]
    assert answer.headers["retry-after"]


async def test_retry_after_stays_within_its_maximum(world, acme):
    world.redis.flushall()
    world.put_catalog()
    world.customer("acme", overrides={"features": {"api_calls": {"limits": None}}})
    world.app.parts.entitlements.forget_all()
    world.key("acme-key", customer="acme")
    answer = await plain(world, acme, "PUT", "/files/a")
    answer = await plain(world, acme, "PUT", "/files/a")
    answer = await plain(world, acme, "PUT", "/files/a")
    assert answer.headers["x-tallygate-reason"] == "allowance_exhausted"
    assert answer.headers["retry-after"] == "1200"


async def test_a_plan_without_the_feature_is_not_a_quota(world):
    world.customer("bolt", "metered")
    key = world.key("bolt-key", customer="bolt")
    for answer in (await plain(world, key, "PUT", "/files/a"),):
        assert answer.status == 403
        assert answer.json["type"] == "urn:tallygate:feature_not_in_plan"
        assert answer.json["violated-policies"] == []
        assert "retry-after" not in answer.headers
    assert (await nginx(world, key, "PUT", "/files/a")).headers["x-tallygate-status"] == "403"


async def test_overage_leaves_no_quota_to_tell(world):
    world.customer("bolt", "metered")
    key = world.key("bolt-key", customer="bolt")
    for _ in range(2):
        answer = await plain(world, key)
    assert (answer.status, answer.headers["x-tallygate-reason"]) == (200, "overage")
    assert answer.headers["ratelimit"] == "", "nothing forbids the next one"


@pytest.mark.parametrize("profile", [plain, nginx])
async def test_no_key_and_unknown_keys_are_401_with_every_header(world, profile):
    for key in (None, "nobody"):
        answer = await profile(world, key)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["x-tallygate-customer"] == ""
        assert answer.headers["x-tallygate-status"] == "401"


async def test_a_service_key_does_not_pay(world, acme):
    service = world.key("sidecar", scopes="consume check")
    answer = await nginx(world, service)
    assert answer.status == 403
    assert answer.json["code"] == "scope"
    assert (await plain(world, "admin-secret")).status == 403


async def test_a_free_route_needs_no_key_but_still_names_who_came(world, acme):
    assert (await plain(world, None, "GET", "/healthz")).headers["x-tallygate-customer"] == ""
    answer = await plain(world, acme, "GET", "/healthz")
    assert (answer.status, answer.headers["x-tallygate-reason"]) == (200, "free")
    assert answer.headers["x-tallygate-customer"] == "acme"
    stranger = await plain(world, "a-key-of-another-system", "GET", "/healthz")
    assert (stranger.status, stranger.headers["x-tallygate-customer"]) == (200, "")
    assert world.used("acme") == 0


async def test_a_proxys_retry_counts_once_and_another_request_counts_again(world, acme):
    first = await nginx(world, acme, attempt="a1")
    again = await nginx(world, acme, attempt="a1")
    assert first.headers["x-tallygate-decision"] == again.headers["x-tallygate-decision"]
    assert world.used("acme") == 1
    await nginx(world, acme, attempt="a2")
    await nginx(world, acme, uri="/other", attempt="a1")
    await nginx(world, acme, method="POST", attempt="a1")
    assert world.used("acme") == 4


async def test_ids_and_keys_that_a_client_sends_change_nothing(world, acme):
    sent = [
        ("idempotency-key", "same"),
        ("x-request-id", "same"),
        ("x-tallygate-request", "same"),
        ("x-tallygate-customer", "other"),
        ("x-tallygate-request-id", "same"),
    ]
    for _ in range(3):
        answer = await plain(world, acme, headers=sent)
        assert answer.headers["x-tallygate-customer"] == "acme"
        assert answer.headers["x-tallygate-request-id"] != "same"
    assert world.used("acme") == 3


async def test_what_the_proxy_forgot_to_send_is_named(world, acme):
    answer = await world.ask("GET", "/authz/nginx", key=acme)
    assert (answer.status, answer.headers["x-tallygate-status"]) == (403, "400")
    assert "X-Original-URI" in answer.json["detail"]


async def test_a_header_that_comes_twice_is_refused(world, acme):
    headers = [*under_nginx("GET", "/things"), ("x-original-uri", "/healthz")]
    answer = await world.ask("GET", "/authz/nginx", key=acme, headers=headers)
    assert answer.headers["x-tallygate-status"] == "400"
    assert world.used("acme") == 0


async def test_other_profiles_are_refused_by_name(world, acme):
    answer = await world.ask("GET", "/authz/envoy/things", key=acme)
    assert (answer.status, answer.json["code"]) == (501, "not_supported_yet")
    assert "envoy" in answer.json["detail"]
    assert (await world.ask("GET", "/authz/enwoy", key=acme)).status == 404


@pytest.mark.parametrize("profile", [plain, nginx])
async def test_an_outage_is_503_and_never_a_quota(world, acme, profile):
    await profile(world, acme)
    await world.app.parts.connection.close()
    answer = await profile(world, acme)
    assert answer.status == 503
    assert answer.headers["x-tallygate-reason"] == "outage"
    assert answer.headers["retry-after"] == "1"
    assert (answer.json["allowed"], answer.json["reason"]) == (False, "outage")


async def test_a_customer_no_header_could_carry_is_percent_encoded(world):
    world.customer("caf\u00e9 {x}%")
    key = world.key("cafe-key", customer="caf\u00e9 {x}%")
    answer = await plain(world, key)
    assert answer.headers["x-tallygate-customer"] == "caf%C3%A9 {x}%25"


class TestACustomerNamedByATrustedProxy:
    @pytest.fixture
    def settings(self, valkey_url):
        return settings_for(valkey_url, authz_customer_header="x-customer")

    @pytest.fixture
    def proxy(self, world):
        world.customer("acme")
        return world.key("proxy", scopes="consume", customers="acme")

    async def ask(self, world, *headers):
        return await plain(world, None, headers=[*headers])

    async def test_pays_when_the_proxy_shows_its_own_key(self, world, proxy):
        answer = await self.ask(world, ("x-tallygate-key", proxy), ("x-customer", "acme"))
        assert answer.headers["x-tallygate-customer"] == "acme"
        assert world.used("acme") == 1

    @pytest.mark.parametrize(
        "headers",
        [
            [("x-customer", "acme")],
            [("x-customer", "acme"), ("authorization", "Bearer proxy")],
        ],
    )
    async def test_does_not_pay_without_the_proxys_key(self, world, proxy, headers):
        assert (await self.ask(world, *headers)).status == 401

    @pytest.mark.parametrize(
        "more",
        [
            ("x-customer", "other"),
            ("x_customer", "other"),
            ("x.customer", "other"),
            ("x_tallygate_key", "proxy"),
        ],
    )
    async def test_is_refused_when_a_client_adds_another(self, world, proxy, more):
        answer = await self.ask(world, ("x-tallygate-key", proxy), ("x-customer", "acme"), more)
        assert answer.status == 400
        assert world.used("acme") == 0

    async def test_must_be_one_the_proxys_key_is_bound_to(self, world, proxy):
        world.customer("other")
        answer = await self.ask(world, ("x-tallygate-key", proxy), ("x-customer", "other"))
        assert answer.status == 403

    async def test_must_be_named(self, world, proxy):
        assert (await self.ask(world, ("x-tallygate-key", proxy))).status == 422
