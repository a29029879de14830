"""`tallygate replay`: recorded traffic through the running gateway."""

import asyncio
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from deploy.cli.api import OK, Session, Unreachable, verb
from deploy.replay import planes
from deploy.replay.formats import Format, Mapping, Recording, TimeFormat, read_recording
from deploy.replay.report import Report, plain, rfc3339
from deploy.replay.runner import Job, Progress, Speed, Target
from deploy.replay.runner import replay as run_replay
from gateway.pricing.window import Span, zone_named

UNREADABLE_SHOWN = 5
CUSTOMERS_SHOWN = 10


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--format", "how", type=click.Choice(get_args(Format)), required=True,
              help="combined: Apache and nginx logs; csv: with a line of column names.")  # fmt: skip
@click.option("--feature", required=True, help="The feature each row uses.")
@click.option("--plan", required=True, help="The plan of customers that do not exist yet.")
@click.option("--time-column", help="Where the time is [combined: time].")
@click.option(
    "--time-format", type=click.Choice(get_args(TimeFormat)), default="iso", show_default=True
)
@click.option("--customer-column", help="Where the customer is [combined: address].")
@click.option(
    "--customers", type=click.IntRange(1), help="Instead: deal rows out to N customers in turn."
)
@click.option("--quantity-column", default="", metavar="COLUMN[+COLUMN…]",
              help="What is used: a column, or a sum of columns [1 for every row].")  # fmt: skip
@click.option("--zone", default="UTC", show_default=True,
              help="Zone of times that name none, and of customers that are created.")  # fmt: skip
@click.option("--speed", type=click.Choice(get_args(Speed)), default="recorded", show_default=True,
              help="recorded: at its times, on the test clock; max: now, as fast as it goes.")  # fmt: skip
@click.option("--clock-step", default="minute", show_default=True, metavar="SPAN",
              help="How finely the test clock follows; windows that end on whole steps are exact.")  # fmt: skip
@click.option("--skip-unreadable", is_flag=True, help="Go on without rows that cannot be read.")
@verb
def replay(
    session: Session, file: Path, how: Format, feature: str, plan: str, time_column: str | None,
    time_format: TimeFormat, customer_column: str | None, customers: int | None, quantity_column: str,
    zone: str, speed: Speed, clock_step: str, skip_unreadable: bool,
) -> int:  # fmt: skip
    """Send recorded traffic through the running gateway and say what it allowed, denied and billed.

    \b
    Examples:
      tallygate replay access.log --format combined --feature api_calls --plan free
      tallygate replay trace.csv --format csv --time-column TIMESTAMP --customers 20 \\
          --quantity-column ContextTokens+GeneratedTokens --feature tokens --plan pro
    """
    mapping = _mapping(
        how, time_column, time_format, customer_column, customers, quantity_column, zone
    )
    recording = read_recording(file, how, mapping)
    _admit(session, recording, skip_unreadable)
    step = Span.parse(clock_step)
    if step.unit not in ("second", "minute", "hour") or 3_600_000 % step.length_ms:
        raise ValueError("the clock step is a second to an hour, and divides the hour evenly")
    job = Job(
        recording=recording,
        customer_rule=mapping.customer_rule(),
        feature=feature,
        plan=plan,
        speed=speed,
        step_ms=step.length_ms,
        step_name=str(step),
        zone=zone,
    )
    report = _run(session, job)
    session.show(report.to_plain(), as_text(report))
    return OK


def _mapping(
    how: Format, time_column: str | None, time_format: TimeFormat, customer_column: str | None,
    customers: int | None, quantity: str, zone: str,
) -> Mapping:  # fmt: skip
    if how == "combined":
        time_column = time_column or "time"
        customer_column = customer_column or (None if customers else "address")
    if time_column is None:
        raise click.UsageError("a CSV needs --time-column")
    return Mapping(
        time_column=time_column,
        time_format=time_format,
        zone=zone_named(zone),
        customer_column=customer_column,
        customers=customers,
        quantity=quantity,
    )


def _admit(session: Session, recording: Recording, skip_unreadable: bool) -> None:
    """Say what is unusual about the recording; rows that cannot be read stop it unless they are to be skipped."""
    if recording.out_of_order:
        session.note(
            f"{recording.out_of_order:,} rows stood behind a later one: sorted by time, "
            "rows of the same instant in the order of the file"
        )
    if not recording.unreadable:
        return
    for problem in recording.unreadable[:UNREADABLE_SHOWN]:
        click.echo(str(problem), err=True)
    count = f"{len(recording.unreadable):,} rows cannot be read"
    if not skip_unreadable:
        raise ValueError(f"{count}; --skip-unreadable goes on without them")
    session.note(f"{count} and are skipped")


def _run(session: Session, job: Job) -> Report:
    target = Target(
        gateway_url=session.installation.gateway_url,
        control_url=session.installation.control_url,
        admin_key=session.installation.admin_key,
    )
    if not target.gateway_url or not target.control_url:
        raise Unreachable("no running Tallygate is known here: see `tallygate --help`")
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn())
    try:
        with Bar(*columns, TimeRemainingColumn(), console=console, disable=session.as_json) as bar:
            tasks: dict[str, Any] = {}

            def tell(progress: Progress) -> None:
                if progress.what not in tasks:
                    tasks[progress.what] = bar.add_task(progress.what, total=progress.total)
                bar.update(tasks[progress.what], completed=progress.done)

            return asyncio.run(run_replay(target, job, tell))
    except planes.Unreachable as error:
        raise Unreachable(str(error)) from None
    except planes.ReplayFailed as error:
        raise ValueError(str(error)) from None


def as_text(report: Report) -> str:
    """The report as a person reads it."""
    total, seconds = report.total, f"{report.took_ms // 1000}.{report.took_ms % 1000 // 100}"
    lines = [
        f"{report.rows:,} requests of {len(report.by_customer):,} customers "
        f"({report.customers_created:,} created), {report.customer_rule}",
        f"recorded {rfc3339(report.first_ms)} to {rfc3339(report.last_ms)}, replayed in {seconds} s"
        + ("" if report.moved_years is None else
           f" at recorded times moved ahead {report.moved_years} years, to the {report.clock_step}"),
        "",
        f"allowed   {total.allowed:>12,}   quantity {plain(total.allowed_quantity)}",
        f"denied    {total.denied:>12,}   quantity {plain(total.denied_quantity)}",
    ]  # fmt: skip
    lines += [f"  {reason:<22} {count:>9,}" for reason, count in total.reasons.most_common()]
    lines += [f"usage     {plain(cost):>12} {name}, exact" for name, cost in total.cost.items()]
    lines += [
        f"invoiced  {plain(amount):>12} {name}, with base prices: the running period and those issued meanwhile"
        for name, amount in report.invoiced.items()
    ]
    if report.late:
        lines.append(
            f"warning: {report.late:,} requests came after their step of the clock had ended; "
            "what they met may not be what was recorded. Use a longer --clock-step."
        )
    busiest = sorted(report.by_customer.items(), key=lambda each: -each[1].asked_quantity)
    lines += ["", "the busiest:"]
    for name, tally in busiest[:CUSTOMERS_SHOWN]:
        lines.append(
            f"  {name:<24} allowed {tally.allowed:>7,}  denied {tally.denied:>7,}  "
            f"quantity {plain(tally.allowed_quantity)}"
        )
    return "\n".join(lines)
