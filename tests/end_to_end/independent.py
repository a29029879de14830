"""The same recordings counted and priced without any of our code: text, dicts and fractions."""

import csv
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path


def requests_by_address_and_hour(log: Path) -> Counter[tuple[str, str]]:
    """How often each client address asked in each hour, as the web server wrote it; it wrote UTC."""
    counts: Counter[tuple[str, str]] = Counter()
    for line in log.read_text().splitlines():
        words = line.split(" ")
        assert words[4] == "+0000]"
        counts[words[0], words[3][1:15]] += 1
    return counts


def allowed_by_address(log: Path, hourly: int) -> tuple[Counter[str], int]:
    """Requests of each address when so many an hour are allowed, and how many were denied in all."""
    allowed: Counter[str] = Counter()
    denied = 0
    for (address, _), count in requests_by_address_and_hour(log).items():
        allowed[address] += min(count, hourly)
        denied += max(0, count - hourly)
    return allowed, denied


@dataclass(slots=True)
class Account:
    """What became of one customer's rows."""

    allowed: int = 0
    denied: int = 0
    tokens: int = 0


def accounts_of_trace(trace: Path, *, customers: int, hourly: int) -> dict[str, Account]:
    """Row n belongs to customer ((n - 1) mod customers) + 1; a row that does not fit its hour is denied whole."""
    accounts: dict[str, Account] = defaultdict(Account)
    used: Counter[tuple[str, str]] = Counter()
    with trace.open(newline="") as file:
        rows = list(csv.DictReader(file))
    times = [row["TIMESTAMP"] for row in rows]
    assert times == sorted(times), "the trace is in order of time, so its order is the order"
    for number, row in enumerate(rows):
        customer = f"replay-{number % customers + 1}"
        hour, account = (customer, row["TIMESTAMP"][:13]), accounts[customer]
        tokens = int(row["ContextTokens"]) + int(row["GeneratedTokens"])
        if used[hour] + tokens > hourly:
            account.denied += 1
            continue
        used[hour] += tokens
        account.allowed += 1
        account.tokens += tokens
    return dict(accounts)


def graduated(tokens: int, included: int, tiers: list[tuple[int | None, str, str]]) -> Fraction:
    """Money for tokens above what is included; tiers are (up to, unit price, flat)."""
    rest, start, owed = max(0, tokens - included), 0, Fraction(0)
    for up_to, unit, flat in tiers:
        part = rest if up_to is None else min(rest, up_to - start)
        if part <= 0:
            break
        owed += part * Fraction(unit) + Fraction(flat)
        rest, start = rest - part, start if up_to is None else up_to
    return owed


def cents(amount: Fraction) -> Decimal:
    """Rounded once, half away from zero."""
    exact = Decimal(amount.numerator) / Decimal(amount.denominator)
    return exact.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
