"""The command line where nothing is running: help, exit codes, what needs no installation."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.cli import VERBS
from deploy.installation import Installation

HELP_S_MAX = 0.3
NOWHERE = "http://127.0.0.1:9"


def tallygate(*words: str, stdin: str = "", **environ: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLYGATE_")}
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={**kept, **environ},
        check=False,
    )


def test_help_answers_at_once() -> None:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert tallygate("--help").returncode == 0
        took.append(time.perf_counter() - began)
    assert min(took) < HELP_S_MAX


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    answer = tallygate(verb, "--help")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(f"Usage: tallygate {verb}")


def test_a_mistyped_verb_gets_a_suggestion() -> None:
    answer = tallygate("conusme")
    assert answer.returncode == 2
    assert "Did you mean consume?" in answer.stderr


def test_no_installation_is_exit_code_3_and_says_what_to_do(tmp_path: Path) -> None:
    answer = tallygate("balances", "acme", "--data", str(tmp_path))
    assert answer.returncode == 3
    assert "tallygate up" in answer.stderr
    assert answer.stdout == ""


def test_an_installation_that_does_not_answer_is_exit_code_3(tmp_path: Path) -> None:
    answer = tallygate(
        "consume", "acme", "api_calls", "--data", str(tmp_path), TALLYGATE_GATEWAY_URL=NOWHERE
    )
    assert answer.returncode == 3
    assert NOWHERE in answer.stderr


def test_rate_answers_line_by_line_and_fails_when_one_cannot_be_priced() -> None:
    good = {"id": 1, "price": {"model": "per_unit", "unit": "0.1"}, "quantity": "3"}
    lines = [json.dumps({**good, "currency": "USD"}), "not json", json.dumps({"id": 2})]
    answer = tallygate("rate", stdin="\n".join(lines))
    first, second, third = map(json.loads, answer.stdout.splitlines())
    assert (first["id"], first["amount"], first["exact"]) == (1, "0.30", "0.3")
    assert "error" in second
    assert "error" in third
    assert answer.returncode == 1


def test_rate_is_happy_when_everything_can_be_priced() -> None:
    case = {"price": {"model": "flat", "amount": "5"}, "quantity": "1", "currency": "JPY"}
    answer = tallygate("rate", stdin=json.dumps(case))
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["amount"] == "5"


def test_the_demo_catalog_is_valid() -> None:
    demo = Path(__file__).parents[2] / "deploy" / "demo.yaml"
    answer = tallygate("catalog", "check", str(demo), "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["valid"] is True


def test_a_bad_catalog_shows_every_problem_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        "currency: USD\n"
        "features:\n"
        "  api_calls: {name: API calls, unti: call}\n"
        "plans:\n"
        "  free: {name: Free, features: {api_call: {included: 20,000}}}\n"
    )
    answer = tallygate("catalog", "check", str(file))
    assert answer.returncode == 1
    assert f"{file}:3:" in answer.stderr
    assert "unit" in answer.stderr
    assert f"{file}:5:" in answer.stderr


def test_a_setting_wins_over_the_folder(tmp_path: Path) -> None:
    Installation(gateway_url="http://kept", admin_key="kept").write(tmp_path)
    found = Installation.find({"TALLYGATE_GATEWAY_URL": "http://set"}, tmp_path)
    assert (found.gateway_url, found.admin_key) == ("http://set", "kept")


def test_the_admin_key_is_for_its_owner_only(tmp_path: Path) -> None:
    Installation(admin_key="secret").write(tmp_path)
    assert (tmp_path / "installation.json").stat().st_mode & 0o777 == 0o600


def test_a_damaged_installation_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "installation.json").write_text("{")
    answer = tallygate("balances", "acme", "--data", str(tmp_path))
    assert answer.returncode == 2
    assert "installation.json is damaged" in answer.stderr
