"""A catalog written in Python is read, checked and compared like one in YAML."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.python_catalog import run_catalog
from gateway.pricing.catalog import Catalog
from gateway.pricing.catalog_problem import CatalogInvalid
from reconciler.catalog_file import read_catalog

SEED = """
api_calls = metered("api_calls", name="API calls")
plan("pro", name="Pro", price=49, currency="USD", interval="monthly",
     features=[api_calls.included(1000, reset="hourly", overage="block")])
"""
YAML = """
currency: USD
features: {api_calls: {name: API calls}}
plans:
  pro:
    name: Pro
    price: 49
    interval: month
    features: {api_calls: {included: 1000, reset: hour, overage: block}}
"""


def written(folder: Path, text: str, name: str = "prices.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_plans_that_are_only_written_down_are_sold(tmp_path: Path) -> None:
    made = run_catalog(written(tmp_path, SEED))
    in_yaml = read_catalog(YAML, "prices.yaml")
    assert made.plans.keys() == in_yaml.plans.keys()
    assert made.plan_with("pro", {}) == in_yaml.plan_with("pro", {})


def test_imports_may_be_written_out(tmp_path: Path) -> None:
    text = (
        "from gateway.pricing.building import *\n"
        + SEED
        + "\nlive = catalog(plan('x', name='X', currency='USD'))"
    )
    made = run_catalog(written(tmp_path, text))
    assert isinstance(made, Catalog)
    assert list(made.plans) == ["x"], "a catalog says itself what it sells"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "neither a catalog nor a plan"),
        (
            "catalog(plan('a', currency='USD', name='A')); catalog(plan('b', currency='USD', name='B'))",
            "2 catalogs",
        ),
    ],
)
def test_a_file_that_makes_none_or_several_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run_catalog(written(tmp_path, text))


def test_what_is_not_supported_yet_is_refused_by_name(tmp_path: Path) -> None:
    text = SEED.replace('overage="block"', 'rollover={"max": 5}')
    with pytest.raises(CatalogInvalid, match="rollover"):
        run_catalog(written(tmp_path, text))


def check(path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "deploy.cli", "catalog", "check", str(path), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_line_checks_it(tmp_path: Path) -> None:
    good = check(written(tmp_path, SEED), "--json")
    assert good.returncode == 0, good.stderr
    assert json.loads(good.stdout)["valid"] is True
    bad = check(written(tmp_path, SEED.replace("block", "blok")))
    assert bad.returncode == 1
    assert "plans.pro.features.api_calls.overage" in bad.stderr
