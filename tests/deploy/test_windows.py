"""`tallygate windows` prints the resets that a calendar on the wall would give."""

import json
from pathlib import Path

from click.testing import CliRunner

from deploy.cli import tallygate


def resets(*options: str) -> list[dict[str, str]]:
    """The rows the command answers, as JSON."""
    answer = CliRunner().invoke(tallygate, ["windows", "--json", *options])
    assert answer.exit_code == 0, answer.output
    return [json.loads(line) for line in answer.stdout.splitlines()]


def days(*options: str) -> list[str]:
    return [row["local"][5:10] for row in resets(*options)]


def monthly(anchor: str, *options: str) -> tuple[str, ...]:
    return ("--every", "month", "--align", "anchor", "--anchor", anchor, "--from", anchor, *options)


def test_an_anchor_on_the_31st_ends_with_each_month_and_comes_back_to_the_31st() -> None:
    assert days(*monthly("2027-01-31T00:00:00Z")) == [
        "02-28", "03-31", "04-30", "05-31", "06-30", "07-31",
        "08-31", "09-30", "10-31", "11-30", "12-31", "01-31",
    ]  # fmt: skip


def test_a_leap_year_has_its_29_february() -> None:
    assert days(*monthly("2028-01-31T00:00:00Z"), "--count", "2") == ["02-29", "03-31"]
    yearly = (
        "--every",
        "year",
        "--align",
        "anchor",
        "--anchor",
        "2028-02-29",
        "--from",
        "2028-02-29",
    )
    assert days(*yearly, "--count", "4") == ["02-28", "02-28", "02-28", "02-29"]


def test_a_zone_with_half_an_hour_resets_at_its_own_midnight() -> None:
    rows = resets(*monthly("2027-01-30T18:30:00Z", "--zone", "Asia/Kolkata", "--count", "3"))
    assert [row["local"] for row in rows] == [
        "2027-02-28 00:00:00+05:30", "2027-03-31 00:00:00+05:30", "2027-04-30 00:00:00+05:30",
    ]  # fmt: skip
    assert rows[0]["resetsAt"] == "2027-02-27T18:30:00Z"


def test_days_of_23_and_25_hours_are_as_long_as_they_are() -> None:
    daily = ("--every", "day", "--zone", "Europe/Berlin", "--count", "2", "--from")
    assert [row["lasts"] for row in resets(*daily, "2027-03-27T12:00:00Z")] == ["1 d", "23 h"]
    assert [row["lasts"] for row in resets(*daily, "2027-10-30T12:00:00Z")] == ["1 d", "1 d 1 h"]


def test_twelve_are_shown_unless_another_number_is_asked_for() -> None:
    assert len(resets("--every", "hour")) == 12
    assert len(resets("--every", "5 hours", "--count", "7")) == 7


def test_five_hours_start_anew_at_midnight() -> None:
    rows = resets("--every", "5 hours", "--from", "2027-01-01", "--count", "6")
    assert [row["local"][11:16] for row in rows] == [
        "05:00", "10:00", "15:00", "20:00", "00:00", "05:00",
    ]  # fmt: skip
    assert rows[4]["lasts"] == "4 h"


def test_a_plan_in_a_file_shows_its_billing_period_allowances_and_limits(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text("""
currency: USD
features: {api_calls: {name: API calls, unit: call}}
plans:
  pro:
    name: Pro
    features: {api_calls: {included: 100, reset: month, limits: [{max: 10, every: hour}]}}
""")
    options = (
        "--plan",
        "pro",
        "--catalog",
        str(catalog),
        "--anchor",
        "2027-01-31",
        "--from",
        "2027-01-31",
    )
    rows = resets(*options, "--count", "1")
    assert [(row["window"], row["resetsAt"]) for row in rows] == [
        ("billing period", "2027-02-28T00:00:00Z"),
        ("api_calls.included", "2027-02-28T00:00:00Z"),
        ("api_calls.hour", "2027-01-31T01:00:00Z"),
    ]


def test_for_people_it_is_a_table_with_the_time_on_both_clocks() -> None:
    answer = CliRunner().invoke(
        tallygate, ["windows", *monthly("2027-01-31", "--zone", "Asia/Kolkata", "--count", "1")]
    )
    assert "month: every month, anchor, Asia/Kolkata" in answer.stderr
    assert answer.stdout.splitlines()[0].split() == ["resetsAt", "local", "lasts"]


def test_what_cannot_be_is_refused_with_exit_code_2() -> None:
    for options in (
        (),
        ("--every", "hour", "--plan", "pro"),
        ("--every", "fortnight"),
        ("--every", "30 hours", "--align", "calendar"),
        ("--every", "month", "--align", "first_use"),
        ("--every", "month", "--zone", "Mars/Olympus"),
        ("--every", "month", "--anchor", "yesterday"),
    ):
        answer = CliRunner().invoke(tallygate, ["windows", *options])
        assert answer.exit_code == 2, (options, answer.output)
        assert "Traceback" not in answer.output
