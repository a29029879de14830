"""The document says what the server does, and no input makes the server fail."""

import contextlib
from typing import Any

import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from redis import Redis

from reconciler.control.app import OPERATIONS
from tests.reconciler.control.plane import ADMIN_KEY, Plane, running_plane

EXAMPLES = 8
"""Inputs made up for each operation; raise it by hand when the endpoints change."""


@pytest.fixture(scope="module")
def api(valkey_url: str, postgres_server: Any, migrated_template: str) -> Any:
    name = "test_control_openapi"
    with psycopg.connect(postgres_server.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
        url = postgres_server.url.replace("@/tallygate?", f"@/{name}?")
        client = Redis.from_url(valkey_url, retry=None)
        client.flushall()
        with (
            psycopg.connect(url, autocommit=True) as connection,
            running_plane(client, connection, url) as plane,
        ):
            plane.push()
            plane.subscribe("acme")
            yield plane
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_no_input_makes_the_server_fail(api: Plane) -> None:
    document = schemathesis.openapi.from_url(f"{api.url}/openapi.json")
    operations: Any = document.get_all_operations()
    for found in operations:
        _try(found.ok())


def _try(operation: Any) -> None:
    """Inputs that the document allows, and inputs that it does not."""
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    for mode in modes:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            answer = case.call(headers={"Authorization": f"Bearer {ADMIN_KEY}"})
            assert answer.status_code < 500, (case, answer.text)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == ["application/problem+json"]
                assert answer.json()["status"] == answer.status_code

        with contextlib.suppress(Unsatisfiable):
            check()


def test_every_route_is_described(plane: Plane) -> None:
    told = plane.ok("GET", "/openapi.json", key=None)
    described = {(method.upper(), path) for path, each in told["paths"].items() for method in each}
    assert described == {(each.method, each.path) for each in OPERATIONS}
    ids = [each["operationId"] for path in told["paths"].values() for each in path.values()]
    assert len(ids) == len(set(ids))


def test_what_is_not_there_is_a_problem_too(plane: Plane) -> None:
    assert plane.ask("GET", "/v1/nothing").body["code"] == "not_found"
    answer = plane.ask("PATCH", "/v1/customers")
    assert (answer.status, answer.body["code"]) == (405, "method_not_allowed")


def test_parts_of_the_contract_for_later_are_refused_by_name(plane: Plane) -> None:
    for method, path in (
        ("POST", "/v1/customers/acme/grants"),
        ("POST", "/v1/customers/acme/adjustments"),
        ("POST", "/v1/invoices/x/credit-notes"),
        ("GET", "/v1/alerts"),
    ):
        answer = plane.ask(method, path)
        assert (answer.status, answer.body["code"]) == (422, "not_supported_yet")


def test_anyone_may_ask_whether_it_lives(plane: Plane) -> None:
    for path in ("/healthz", "/readyz", "/", "/openapi.json"):
        assert plane.ask("GET", path, key=None).status == 200
