"""However many ask at once and however many workers answer, exactly the limit gets through, and all books agree."""

from collections.abc import Callable

import pytest

from tests.end_to_end.books import ledger_row, wait_for_ledger
from tests.end_to_end.installation import Installation
from tests.end_to_end.load import consume_at_once, reasons

CATALOG = """
currency: USD
features:
  api_calls: {name: API calls, unit: call}
plans:
  hundred: {name: Hundred, features: {api_calls: {included: 100, reset: month}}}
  paying:
    name: Paying
    features:
      api_calls:
        included: 0
        overage: charge
        price: {model: per_unit, unit: "0.01"}
        limits: [{max: 100, every: month}]
"""


@pytest.mark.parametrize("workers", [1, 4])
def test_of_5000_requests_of_64_clients_exactly_100_pass(
    start_installation: Callable[..., Installation], workers: int
) -> None:
    installation = start_installation(workers=workers, test_clock=False)
    installation.push(CATALOG)
    for name in ("hundred", "paying"):
        installation.customer(name, name)
    answers = consume_at_once(
        installation,
        [{"customer": ("hundred", "paying")[n % 2], "feature": "api_calls"} for n in range(5000)],
        clients=64,
    )
    assert {answer["http"] for answer in answers} == {200}
    assert reasons(answers) == {
        "included": 100,
        "allowance_exhausted": 2400,
        "overage": 100,
        "limit_reached": 2400,
    }
    wait_for_ledger(installation, 200)
    for customer, cost in (("hundred", "0.00"), ("paying", "1.00")):
        assert installation.balance(customer, "api_calls")["used"] == 100
        assert ledger_row(installation, customer)[:2] == (100, 100)
        (line,) = [
            each for each in installation.upcoming(customer)["lines"] if each["kind"] == "usage"
        ]
        assert (str(line["quantity"]), line["amount"]) == ("100", cost)
    installation.stop("gateway")
