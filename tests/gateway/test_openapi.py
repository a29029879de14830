"""The OpenAPI document against the gateway that serves it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from gateway.app import make_app
from gateway.openapi import document, page
from tests.gateway.conftest import ADMIN_KEY, World, settings_for
from tests.gateway.process import serving

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
HOOKS = "tests.gateway.msgpack_for_schemathesis"
ROOT = Path(__file__).parents[2]
EXAMPLES_MAX = 6


def resolved(schema):
    """A schema that can be used by itself."""
    return {**schema, "components": document()["components"]}


def body_schema(path, method, status):
    content = document()["paths"][path][method]["responses"][str(status)]["content"]
    return resolved(next(iter(content.values()))["schema"])


def test_every_schema_is_one():
    for schema in document()["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere():
    text = json.dumps(document())
    for name in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document()["components"]["schemas"]


def test_the_page_needs_no_network_and_names_every_path():
    assert "src=" not in page()
    assert "http://" not in page()
    assert "https://" not in page()
    for path in document()["paths"]:
        assert path in page()


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("consume", {"customer": "acme", "feature": "api_calls"}, 200),
        ("consume", {"customer": "acme", "feature": "storage", "quantity": "0.5"}, 200),
        ("consume", {"customer": "acme", "feature": "api_calls", "quantity": 1_000}, 200),
        ("consume", {"customer": "nobody", "feature": "api_calls"}, 200),
        ("check", {"customer": "acme", "feature": "sso"}, 200),
        (
            "track",
            {"customer": "acme", "items": [{"feature": "api_calls"}, {"feature": "sso"}]},
            200,
        ),
        ("consume", {"batch": [{"customer": "acme", "feature": "api_calls"}, {"wrong": 1}]}, 200),
        ("track", {"customer": "nobody", "feature": "api_calls"}, 404),
        ("consume", {"customer": "acme", "faeture": "api_calls"}, 422),
        ("consume", {"customer": "acme", "feature": "api_calls", "quantity": 1.5}, 422),
    ],
)
async def test_an_answer_is_what_the_document_says(world, verb, body, status):
    world.customer("acme")
    answer = await world.ask("POST", f"/v1/{verb}", body, key=ADMIN_KEY)
    assert answer.status == status
    schema = body_schema(f"/v1/{verb}", "post", status)
    Draft202012Validator(schema).validate(answer.json)


async def test_balances_are_what_the_document_says(world):
    world.customer("acme")
    path = "/v1/customers/acme/balances"
    answer = await world.ask("GET", path, key=ADMIN_KEY)
    schema = body_schema("/v1/customers/{customer}/balances", "get", 200)
    Draft202012Validator(schema).validate(answer.json)


@pytest.fixture
def served(redis_client, valkey_url):
    """The URL of a gateway process with one customer and both kinds of key."""
    world = World(redis=redis_client, url=valkey_url, app=make_app(settings_for(valkey_url)))
    world.put_catalog()
    world.adopt(0)
    world.customer("acme")
    world.key("acme-key", customer="acme")
    with serving(valkey_url) as served:
        yield served.url


@pytest.mark.parametrize(
    ("key", "paths"), [(ADMIN_KEY, "^/v1|^/[a-z.]+$"), ("acme-key", "^/authz")]
)
def test_whatever_is_sent_the_answer_is_one_the_document_knows(served, tmp_path, key, paths):
    found = subprocess.run(
        [
            *(SCHEMATHESIS, "run", f"{served}/openapi.json"),
            *("-H", f"Authorization: Bearer {key}"),
            *("--include-path-regex", paths),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-examples", str(EXAMPLES_MAX)),
            *("--seed", "1"),
            "--continue-on-failure",
            # What is sent may name a customer that does not exist, or a quantity the feature has not.
            *("--exclude-checks", "positive_data_acceptance"),
            "--no-color",
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert found.returncode == 0, found.stdout[-6_000:] + found.stderr[-2_000:]
