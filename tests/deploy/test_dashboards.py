"""The files for Prometheus and Grafana ask for what a running installation really tells."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3

from deploy.children import start_child
from tests.end_to_end.conftest import start_installation
from tests.end_to_end.installation import Installation, free_port, wait_until

__all__ = ["start_installation"]

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
RULES = DEPLOY / "prometheus" / "rules.yml"
BASE_UNITS = {"s", "reqps", "percentunit", "short", "bytes"}
FILLED_TIMEOUT_S = 60

CATALOG = """
currency: USD
features:
  api_calls: {name: API calls, unit: call}
plans:
  blocked: {name: Blocked, features: {api_calls: {included: 1, reset: month}}}
  paying:
    name: Paying
    features:
      api_calls: {included: 1, overage: charge, price: {model: per_unit, unit: "0.001"}}
"""


def panels(dashboard: Path) -> Iterator[dict[str, Any]]:
    for panel in json.loads(dashboard.read_text())["panels"]:
        if panel["type"] != "row":
            yield panel


def queries() -> dict[str, str]:
    """Title and letter of every query of every dashboard → the query as Grafana would send it."""
    values = {"$__rate_interval": "15s", "$feature": ".*", "$plan": ".*"}
    found: dict[str, str] = {}
    for dashboard in DASHBOARDS:
        for panel in panels(dashboard):
            for target in panel["targets"]:
                query = target["expr"]
                for name, value in values.items():
                    query = query.replace(name, value)
                found[f"{panel['title']} {target['refId']}"] = query
    return found


def test_every_panel_says_what_it_shows_in_base_units_from_the_chosen_source() -> None:
    for dashboard in DASHBOARDS:
        for panel in panels(dashboard):
            assert panel["fieldConfig"]["defaults"]["unit"] in BASE_UNITS, panel["title"]
            sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
            assert {source["uid"] for source in sources} == {"${datasource}"}, panel["title"]


def test_panels_do_not_overlap() -> None:
    for dashboard in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in panels(dashboard):
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert not taken & cells, panel["title"]
            taken |= cells


def test_the_prometheus_files_are_valid(needs: Callable[[str], str]) -> None:
    promtool = needs("promtool")
    for what, path in (("config", DEPLOY / "prometheus" / "prometheus.yml"), ("rules", RULES)):
        checked = subprocess.run([promtool, "check", what, path], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_fires_on_what_it_is_for_and_is_silent_otherwise(
    needs: Callable[[str], str],
) -> None:
    tests = Path(__file__).with_name("alerts.yml")
    ran = subprocess.run(
        [needs("promtool"), "test", "rules", tests], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


class Prometheus:
    """A real Prometheus that scrapes an installation every second with the shipped configuration."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(retries=False, timeout=10)

    def get(self, path: str) -> Any:
        answer = json.loads(self._pool.request("GET", self._url + path).data)
        assert answer["status"] == "success", f"{path}: {answer}"
        return answer["data"]

    def ask(self, query: str) -> list[Any]:
        return list(self.get("/api/v1/query?" + urlencode({"query": query}))["result"])

    def answers(self) -> bool:
        try:
            return self._pool.request("GET", f"{self._url}/-/ready").status == 200
        except urllib3.exceptions.HTTPError:
            return False


@pytest.fixture(scope="module")
def installation(start_installation: Callable[..., Installation]) -> Installation:
    running = start_installation()
    running.push(CATALOG)
    for name, plan in (("stuck", "blocked"), ("acme", "paying")):
        running.customer(name, plan)
    return running


@pytest.fixture(scope="module")
def prometheus(installation: Installation, needs: Callable[[str], str]) -> Iterator[Prometheus]:
    program = needs("prometheus")
    directory = installation.directory / "prometheus"
    directory.mkdir()
    shutil.copy(RULES, directory)
    config = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    for shipped, ours in (
        ("127.0.0.1:8080", installation.gateway_url.removeprefix("http://")),
        ("127.0.0.1:8081", installation.control_url.removeprefix("http://")),
        ("interval: 10s", "interval: 1s"),
    ):
        assert shipped in config
        config = config.replace(shipped, ours)
    (directory / "prometheus.yml").write_text(config)
    port = free_port()
    child = start_child(
        "prometheus",
        [
            program,
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        log=directory / "prometheus.log",
    )
    asked = Prometheus(f"http://127.0.0.1:{port}")
    try:
        wait_until(asked.answers, 30, child.last_words)
        yield asked
    finally:
        child.stop()


def test_every_query_of_every_dashboard_shows_numbers_of_a_running_installation(
    installation: Installation, prometheus: Prometheus
) -> None:
    empty = queries()

    def filled() -> bool:
        for customer in ("stuck", "acme"):
            installation.consume(customer, "api_calls")
        for title, query in list(empty.items()):
            if prometheus.ask(query):
                del empty[title]
        return not empty

    wait_until(filled, FILLED_TIMEOUT_S, lambda: f"no numbers for {empty}")


def test_every_rule_can_be_evaluated_and_none_alarms_about_a_healthy_installation(
    installation: Installation, prometheus: Prometheus
) -> None:
    def rules() -> list[Any]:
        groups = prometheus.get("/api/v1/rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    wait_until(lambda: all(rule["health"] == "ok" for rule in rules()), 30, lambda: str(rules()))
    assert [rule["name"] for rule in rules() if rule.get("state") == "firing"] == []


def test_every_metric_that_a_file_names_is_told_by_a_process(installation: Installation) -> None:
    files = [*DASHBOARDS, RULES]
    named = {
        name
        for path in files
        for name in re.findall(r"(?<!:)\btallygate_[a-z_]+", path.read_text())
        if not name.startswith("tallygate_decisions_denied")
    }
    told = ""
    for url in (installation.gateway_url, installation.control_url):
        told += installation.pool.request("GET", f"{url}/metrics").data.decode()
    assert {name for name in named if not re.search(rf"^{name}[ {{]", told, re.MULTILINE)} == set()


def test_no_metric_is_labelled_by_customer(installation: Installation) -> None:
    installation.consume("acme", "api_calls")
    for url in (installation.gateway_url, installation.control_url):
        told = installation.pool.request("GET", f"{url}/metrics").data.decode()
        assert "acme" not in told and "customer=" not in told
