"""Recorded traffic of others: allowed, denied, ledger and invoice equal what the file alone says."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from deploy.replay.formats import Mapping
from tests.end_to_end import independent
from tests.end_to_end.books import ledger_by_customer, wait_for_ledger
from tests.end_to_end.installation import ROOT, Installation

DATA = ROOT / ".." / "shared" / "data"
pytestmark = [
    pytest.mark.skipif(not DATA.exists(), reason="the recorded traffic is not here"),
    pytest.mark.timeout(400),
]

HOURLY_REQUESTS = 20
CUSTOMERS, HOURLY_TOKENS, INCLUDED_TOKENS = 10, 1_600_000, 1_000_000
TIERS: list[tuple[int | None, str, str]] = [
    (500_000, "0.000002", "0"), (1_000_000, "0.0000015", "1"), (None, "0.000001", "0"),
]  # fmt: skip
CATALOG = f"""
currency: USD
features:
  api_calls: {{name: API calls, unit: call}}
  tokens: {{name: Tokens, unit: token}}
plans:
  visitor: {{name: Visitor, features: {{api_calls: {{included: {HOURLY_REQUESTS}, reset: hour}}}}}}
  chat:
    name: Chat
    price: 25
    features:
      tokens:
        included: {INCLUDED_TOKENS}
        reset: month
        limits: [{{max: {HOURLY_TOKENS}, every: hour}}]
        overage: charge
        price:
          model: graduated
          tiers:
            - {{up_to: 500000, unit: "0.000002"}}
            - {{up_to: 1000000, unit: "0.0000015", flat: 1}}
            - {{unit: "0.000001"}}
"""


@pytest.fixture(scope="module")
def tallygate(start_installation: Callable[..., Installation]) -> Callable[..., Any]:
    """Runs the command line against a fresh installation each and gives its JSON."""

    def run(installation: Installation, *words: str) -> Any:
        environment = installation.environment | {
            "TALLYGATE_GATEWAY_URL": installation.gateway_url,
            "TALLYGATE_CONTROL_URL": installation.control_url,
        }
        command = [sys.executable, "-m", "deploy.cli", *words, "--json"]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return run


def used(invoice: Any) -> tuple[int, Decimal]:
    """Quantity and amount of the usage lines of an invoice."""
    lines = [line for line in invoice["lines"] if line["kind"] == "usage"]
    return sum(int(line["quantity"]) for line in lines), sum(
        (Decimal(line["amount"]) for line in lines), Decimal(0)
    )


def test_a_web_server_log_with_20_requests_an_hour_for_each_address(
    start_installation: Callable[..., Installation], tallygate: Callable[..., Any]
) -> None:
    installation = start_installation()
    installation.push(CATALOG)
    options = ("--format", "combined", "--feature", "api_calls", "--plan", "visitor")
    report = tallygate(installation, "replay", str(DATA / "access.log"), *options)
    allowed, denied = independent.allowed_by_address(DATA / "access.log", HOURLY_REQUESTS)
    assert (report["rows"], report["late"]) == (10_000, 0)
    assert report["allowed"] == allowed.total()
    assert report["reasons"] == {"allowance_exhausted": denied, "included": allowed.total()}
    assert {name: each["allowed"] for name, each in report["byCustomer"].items()} == allowed
    wait_for_ledger(installation, allowed.total())
    ledger = ledger_by_customer(installation)
    assert {name: each[:2] for name, each in ledger.items()} == {
        name: (count, count) for name, count in allowed.items()
    }
    for name, count in allowed.most_common(100):
        assert used(installation.upcoming(name)) == (count, Decimal(0))


def test_an_hour_of_a_chat_service_by_tokens_under_a_graduated_price(
    start_installation: Callable[..., Installation], tallygate: Callable[..., Any]
) -> None:
    installation = start_installation()
    installation.push(CATALOG)
    trace = DATA / "llm-conversation-trace.csv"
    report = tallygate(
        installation, "replay", str(trace), "--format", "csv", "--time-column", "TIMESTAMP",
        "--customers", str(CUSTOMERS), "--quantity-column", "ContextTokens+GeneratedTokens",
        "--feature", "tokens", "--plan", "chat",
    )  # fmt: skip
    accounts = independent.accounts_of_trace(trace, customers=CUSTOMERS, hourly=HOURLY_TOKENS)
    assert report["customerRule"] == Mapping(time_column="t", customers=CUSTOMERS).customer_rule()
    assert (report["rows"], report["late"]) == (19_366, 0)
    assert {
        name: (each["allowed"], each["denied"], int(each["quantity"]["allowed"]))
        for name, each in report["byCustomer"].items()
    } == {name: (each.allowed, each.denied, each.tokens) for name, each in accounts.items()}
    assert report["denied"] > 0
    wait_for_ledger(installation, report["allowed"])
    ledger = ledger_by_customer(installation)
    upcoming = {name: installation.upcoming(name) for name in accounts}
    for name, account in accounts.items():
        owed = independent.graduated(account.tokens, INCLUDED_TOKENS, TIERS)
        assert ledger[name] == (account.tokens, account.allowed, Decimal(ledger[name][2]))
        assert ledger[name][2] == owed
        assert used(upcoming[name]) == (account.tokens, independent.cents(owed))
    close_the_month(installation, upcoming)


def close_the_month(installation: Installation, upcoming: dict[str, Any]) -> None:
    """The invoices of the ended month are what was upcoming, and the books prove it."""
    ends = datetime.fromisoformat(next(iter(upcoming.values()))["period"]["end"])
    installation.control("POST", "/v1/clock", {"set": f"{ends:%Y-%m-%dT%H:%M:%SZ}"})
    installation.control("POST", "/v1/clock", {"advance": "2 hours"})
    installation.control("POST", "/v1/invoices/run")
    issued = installation.control("GET", "/v1/invoices?limit=1000")["data"]
    for name, expected in upcoming.items():
        (invoice,) = [
            each
            for each in issued
            if each["customer"] == name and each["period"] == expected["period"]
        ]
        assert invoice["status"] == "finalized"
        assert used(invoice) == used(expected)
        assert invoice["total"] == expected["total"]
