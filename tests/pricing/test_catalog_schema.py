"""Editors are told what the catalog check accepts."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from gateway.pricing.catalog import load_catalog
from gateway.pricing.catalog_schema import catalog_schema
from tests.pricing.catalogs import in_api, in_plan, problems_of, whole
from tests.pricing.test_catalog import CONTRACT

SCHEMA = catalog_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_schema_is_a_schema_and_plain_json() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_the_catalog_of_the_contract_is_valid_as_an_editor_reads_it() -> None:
    as_yaml = YAML(typ="safe", pure=True).load(CONTRACT)
    assert [error.message for error in VALIDATOR.iter_errors(as_yaml)] == []


def test_every_name_has_a_sentence() -> None:
    def described(schema: Any) -> None:
        if isinstance(schema, dict):
            for field in schema.get("properties", {}).values():
                assert field["description"].endswith((".", "%")), field["description"]
            for each in schema.values():
                described(each)
        elif isinstance(schema, list):
            for each in schema:
                described(each)

    described(SCHEMA)


@pytest.mark.parametrize(
    "data",
    [
        whole(curency="EUR"),
        in_plan(pricee="1"),
        in_plan(price="1e6"),
        in_plan(price=[]),
        in_plan(addon="yes"),
        in_api(included="20,000"),
        in_api(overage="chrge"),
        in_api(limits=[{"every": "hour"}]),
        in_api(alerts=["80"]),
        whole(features={"Api": {}}, credits={}),
        whole(links={"buy": "x"}),
        {"currency": "USD", "plans": {}},
    ],
)
def test_what_the_schema_refuses_the_check_refuses(data: Any) -> None:
    assert not VALIDATOR.is_valid(data)
    assert problems_of(data)


@pytest.mark.parametrize(
    "data",
    [
        whole(),
        in_plan(price="1_000.50"),
        in_plan(trial=None),
        in_api(included="unlimited"),
        in_api(included={"each": "5"}, on_outage="closed"),
    ],
)
def test_what_the_check_takes_the_schema_takes(data: Any) -> None:
    load_catalog(data)
    assert [error.message for error in VALIDATOR.iter_errors(data)] == []
