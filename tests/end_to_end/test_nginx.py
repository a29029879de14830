"""Behind the real nginx, with the configuration as it is shipped."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from deploy.children import Child, start_child
from tests.end_to_end.installation import Answer, Installation, free_port, wait_until

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "proxies" / "nginx.conf"
API = """
pid nginx-api.pid;
events {{}}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        location /forbidden {{ add_header RateLimit '"own";r=1' always; return 403 "the API's own"; }}
        location /broken    {{ return 500 "the API's own"; }}
        location / {{
            return 200 '$http_x_tallygate_customer|$http_x_tallygate_plan|$http_x_tallygate_key$http_x_tallygate_request|$request_method';
        }}
    }}
}}
"""
CATALOG = """
currency: USD
features:
  api_calls: {name: API calls, unit: call}
  reports: {name: Reports, unit: report}
plans:
  hundred: {name: Hundred, features: {api_calls: {included: 100, reset: hour}}}
routes:
  - {match: "GET /status", free: true}
  - {match: "GET /expensive", feature: api_calls, cost: 60}
  - {match: "/reports/*", feature: reports}
  - {match: "*", feature: api_calls}
"""


class Site:
    """An API behind nginx behind nobody: what an end user sees."""

    def __init__(self, installation: Installation, url: str) -> None:
        self.installation = installation
        self.url = url
        self._numbers = 0

    def new_customer(self) -> tuple[str, str]:
        """A customer with 100 calls an hour, and its key."""
        self._numbers += 1
        customer = self.installation.customer(f"c{self._numbers}", "hundred")
        return customer, self.installation.customer_key(customer)

    def get(self, key: str, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        return self.installation.ask(self.url, method, path, None, key, **headers)

    def anonymous(self, path: str) -> Answer:
        return self.installation.ask(self.url, "GET", path, None, "x", Authorization="")


@pytest.fixture(scope="module")
def site(running: Installation, needs: Callable[[str], str]) -> Iterator[Site]:
    program, directory = needs("nginx"), running.directory
    running.push(CATALOG)
    front, api = free_port(), free_port()
    shipped = SHIPPED.read_text()
    for address, ours in (
        ("server 127.0.0.1:8080;", f"server {running.gateway_url.removeprefix('http://')};"),
        ("server 127.0.0.1:9000;", f"server 127.0.0.1:{api};"),
        ("listen 127.0.0.1:8088;", f"listen 127.0.0.1:{front};"),
    ):
        assert shipped.count(address) == 1
        shipped = shipped.replace(address, ours)
    texts = {"front": shipped, "api": API.format(port=api)}
    children = [start_nginx(program, directory, name, text) for name, text in texts.items()]
    found = Site(running, f"http://127.0.0.1:{front}")
    try:
        wait_until(lambda: front_answers(found), 20, children[0].last_words)
        yield found
    finally:
        for child in children:
            child.stop()


def front_answers(site: Site) -> bool:
    try:
        return site.anonymous("/status").status == 200
    except urllib3.exceptions.HTTPError:
        return False


def start_nginx(program: str, directory: Path, name: str, text: str) -> Child:
    # An unprivileged nginx cannot write where the distribution compiled these in.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {directory}/{name}-{kind};" for kind in kinds)
    config = directory / f"nginx-{name}.conf"
    config.write_text(text.replace("http {", f"http {{ {paths}", 1))
    command = [program, "-p", str(directory), "-c", str(config), "-g", "daemon off;"]
    return start_child(f"nginx-{name}", command, log=directory / f"nginx-{name}.log")


def test_exactly_what_is_included_passes_however_many_ask_at_once(site: Site) -> None:
    customer, key = site.new_customer()
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: site.get(key), range(150)))
    assert Counter(answer.status for answer in answers) == {200: 100, 429: 50}
    assert site.installation.balance(customer, "api_calls")["used"] == 100


def test_a_denial_is_429_with_retry_after_rate_limit_and_a_problem(site: Site) -> None:
    _, key = site.new_customer()
    assert site.get(key, "/expensive").status == 200
    denied = site.get(key, "/expensive")
    assert denied.status == 429
    assert denied.headers["Content-Type"] == "application/problem+json"
    assert 1 <= int(denied.headers["Retry-After"]) <= 3600
    assert denied.headers["RateLimit"].startswith('"api_calls.included";r=40;t=')
    assert denied.headers["RateLimit-Policy"].startswith('"api_calls.included";q=100')
    problem = json.loads(denied.body) if isinstance(denied.body, str) else denied.body
    assert problem["type"].endswith("#quota-exceeded")
    assert problem["status"] == 429
    assert problem["code"] == "allowance_exhausted"
    assert problem["violated-policies"] == ["api_calls.included"]
    assert problem["detail"]


def test_an_allowed_answer_says_what_is_left(site: Site) -> None:
    _, key = site.new_customer()
    answer = site.get(key, "/expensive")
    assert answer.headers["RateLimit"].startswith('"api_calls.included";r=40;t=')
    assert answer.headers["X-Tallygate-Balance"] == "40"


def test_ids_and_idempotency_keys_that_a_client_sends_do_not_save_it_from_being_counted(
    site: Site,
) -> None:
    customer, key = site.new_customer()
    constant = {
        "X-Request-Id": "same",
        "X-Tallygate-Request": "same",
        "X-Tallygate-Request-Id": "same",
        "Idempotency-Key": "same",
    }
    for _ in range(5):
        assert site.get(key, **constant).status == 200
    assert site.installation.balance(customer, "api_calls")["used"] == 5


def test_the_api_hears_who_pays_and_nothing_a_client_claims(site: Site) -> None:
    customer, key = site.new_customer()
    claimed = {
        "X-Tallygate-Customer": "somebody-else",
        "X-Tallygate-Plan": "unlimited",
        "X-Tallygate-Key": "stolen",
        "X-Tallygate-Request": "chosen",
    }
    assert site.get(key, **claimed).body == f"{customer}|hundred||GET"
    assert site.get(key, "/status", **claimed).body.endswith("||GET")
    assert "somebody" not in site.get(key, "/status", **claimed).body


def test_the_method_of_the_request_is_the_one_that_is_decided_and_passed_on(site: Site) -> None:
    customer, key = site.new_customer()
    assert site.get(key, "/expensive", method="POST").body == f"{customer}|hundred||POST"
    assert site.installation.balance(customer, "api_calls")["used"] == 1


@pytest.mark.parametrize(
    "path", ["/expensive?x=1", "/%65xpensive", "//expensive", "/a/../expensive"]
)
def test_another_spelling_of_a_path_costs_the_same(site: Site, path: str) -> None:
    customer, key = site.new_customer()
    assert site.get(key, path).status == 200
    assert site.installation.balance(customer, "api_calls")["used"] == 60


def test_without_a_valid_key_it_is_401(site: Site) -> None:
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer nobody"}):
        answer = site.installation.ask(site.url, "GET", "/", None, "x", **headers)
        assert answer.status == 401
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_a_feature_that_the_plan_lacks_is_403_with_a_problem(site: Site) -> None:
    _, key = site.new_customer()
    answer = site.get(key, "/reports/7")
    assert answer.status == 403
    assert answer.headers["X-Tallygate-Reason"] == "feature_not_in_plan"
    assert "Retry-After" not in answer.headers


def test_a_free_route_needs_no_key(site: Site) -> None:
    assert site.anonymous("/status").status == 200


def test_what_the_api_itself_answers_passes_untouched(site: Site) -> None:
    _, key = site.new_customer()
    forbidden, broken = site.get(key, "/forbidden"), site.get(key, "/broken")
    assert (forbidden.status, forbidden.body) == (403, "the API's own")
    assert (broken.status, broken.body) == (500, "the API's own")
    assert "own" not in forbidden.headers["RateLimit"]


def test_a_gateway_that_is_gone_is_503_and_no_quota_and_all_is_well_when_it_is_back(
    site: Site,
) -> None:
    customer, key = site.new_customer()
    assert site.get(key).status == 200
    site.installation.stop("gateway")
    try:
        answer = site.get(key)
        assert answer.status == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Retry-After"] == "1"
        assert '"reason":"outage"' in str(answer.body) or answer.body["reason"] == "outage"
    finally:
        site.installation.start_gateway(workers=1)
    wait_until(lambda: site.get(key).status == 200, 10)
    assert site.installation.balance(customer, "api_calls")["used"] == 2
