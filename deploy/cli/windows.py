"""`tallygate windows`: when windows reset next, of a span, of a plan, or of a customer."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import click

from deploy.cli.api import OK, Session, path_of, verb
from gateway.pricing.catalog import Catalog
from gateway.pricing.entitlement import Entitlement
from gateway.pricing.subscription import Subscription, entitle
from gateway.pricing.window import (
    NEVER_ENDS_MS,
    Align,
    Span,
    align_problem,
    format_instant,
    next_resets,
    window_at,
    zone_named,
)

COUNT_MAX = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One kind of window, and everything that says when it resets."""

    name: str
    span: Span
    align: Align
    anchor_ms: int
    zone: str
    period: Span


@click.command()
@click.option("--every", metavar="SPAN", help="A span: hour, 5 hours, month, …")
@click.option("--customer", help="Every window of this customer.")
@click.option(
    "--plan", help="Every window of this plan, as a subscription begun at --anchor has it."
)
@click.option("--catalog", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="The file --plan is in; without it, the live catalog.")  # fmt: skip
@click.option(
    "--align", type=click.Choice(get_args(Align)), help="With --every: how it is aligned."
)
@click.option("--anchor", metavar="TIME", help="RFC 3339: where anchored windows are counted from.")
@click.option("--zone", default="UTC", show_default=True, help="The customer's time zone.")
@click.option(
    "--from",
    "start",
    metavar="TIME",
    help="RFC 3339: resets after this [now, by the clock of the installation].",
)
@click.option("--count", type=click.IntRange(1, COUNT_MAX), default=12, show_default=True)
@verb
def windows(
    session: Session, every: str | None, customer: str | None, plan: str | None, catalog: Path | None,
    align: Align | None, anchor: str | None, zone: str, start: str | None, count: int,
) -> int:  # fmt: skip
    """The next reset times, in UTC and in the customer's zone, and how long each window lasts.

    Example: tallygate windows --every month --align anchor --anchor 2027-01-31T00:00:00Z --zone Asia/Kolkata
    """
    if sum(each is not None for each in (every, customer, plan)) != 1:
        raise click.UsageError("name one of --every, --customer and --plan")
    if start is not None:
        from_ms = milliseconds(start)
    elif every is not None or catalog is not None:
        from_ms = time.time_ns() // 1_000_000
    else:
        from_ms = milliseconds(session.control("GET", "/v1/clock")["now"])
    anchor_ms = from_ms if anchor is None else milliseconds(anchor)
    if every is not None:
        cycles = [_of_span(every, align, anchor_ms, zone)]
    elif customer is not None:
        cycles = list(_of_customer(session, customer))
    else:
        assert plan is not None, "one of the three is named"
        cycles = list(_of_plan(session, plan, catalog, anchor_ms, zone))
    for cycle in cycles:
        show(session, cycle, from_ms, count)
    return OK


def milliseconds(text: str) -> int:
    """An instant written as RFC 3339, or as a date (midnight UTC). Raises ValueError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write 2027-01-31T00:00:00Z") from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _of_span(every: str, align: Align | None, anchor_ms: int, zone: str) -> Cycle:
    span = Span.parse(every)
    align = align or ("anchor" if span.unit in ("month", "year", "period", "never") else "calendar")
    if problem := align_problem(span, align):
        raise ValueError(problem)
    return Cycle(
        name=str(span), span=span, align=align, anchor_ms=anchor_ms, zone=zone, period=Span("month")
    )


def _of_plan(
    session: Session, plan: str, path: Path | None, anchor_ms: int, zone: str
) -> Iterator[Cycle]:
    if path is None:
        catalog = Catalog.from_plain(session.control("GET", "/v1/catalog")["catalog"])
    else:
        from reconciler.catalog_file import read_catalog

        catalog = read_catalog(path.read_text(), str(path))
    subscription = Subscription(
        customer="-",
        plan=plan,
        catalog=catalog,
        catalog_version=1,
        starts_ms=anchor_ms,
        anchor_ms=anchor_ms,
        zone=zone,
    )
    return cycles_of(entitle(subscription, version=1))


def _of_customer(session: Session, customer: str) -> Iterator[Cycle]:
    found = session.control("GET", path_of("customers", customer))
    bought = found.get("subscription")
    if not bought:
        raise ValueError(f"{customer} has no subscription")
    catalog = session.control("GET", path_of("catalog", str(bought["catalog"])))
    subscription = Subscription(
        customer=customer,
        plan=bought["plan"],
        catalog=Catalog.from_plain(catalog["catalog"]),
        catalog_version=bought["catalog"],
        starts_ms=milliseconds(bought["startsAt"]),
        anchor_ms=milliseconds(bought["anchor"]),
        quantity=bought["quantity"],
        overrides=bought.get("overrides") or {},
        zone=found["timeZone"],
    )
    return cycles_of(entitle(subscription, version=1))


def cycles_of(entitlement: Entitlement) -> Iterator[Cycle]:
    """Every window of an entitlement: the billing period, then each feature's allowance and limits."""
    shared: dict[str, Any] = {
        "anchor_ms": entitlement.anchor_ms,
        "zone": entitlement.zone,
        "period": entitlement.period,
    }
    yield Cycle(name="billing period", span=Span("period"), align="anchor", **shared)
    for feature in entitlement.features.values():
        if feature.type == "boolean":
            continue
        name = f"{feature.feature}.included"
        yield Cycle(name=name, span=feature.reset, align=feature.align, **shared)
        for limit in feature.limits:
            yield Cycle(name=limit.name, span=limit.span, align=limit.align, **shared)


def show(session: Session, cycle: Cycle, from_ms: int, count: int) -> None:
    """Writes the next resets of one cycle; a window that counts from first use has none to show."""
    every = cycle.period if cycle.span.unit == "period" else cycle.span
    session.note(f"{cycle.name}: every {every}, {cycle.align}, {cycle.zone}")
    if cycle.align == "first_use":
        session.note("  begins at the first use, and ends one span later")
        return
    rows = list(rows_of(cycle, from_ms, count))
    if not rows:
        session.note("  never resets")
        return
    session.show_rows(rows, ["resetsAt", "local", "lasts"])


def rows_of(cycle: Cycle, from_ms: int, count: int) -> Iterator[dict[str, Any]]:
    """A row for each of the next resets: in UTC, by the clock of the zone, and the length of the window it ends."""
    zone = zone_named(cycle.zone)
    about: dict[str, Any] = {
        "anchor_ms": cycle.anchor_ms,
        "zone": cycle.zone,
        "period": cycle.period,
    }
    starts_ms = window_at(cycle.span, cycle.align, at_ms=from_ms, **about).start_ms
    for at_ms in next_resets(cycle.span, cycle.align, at_ms=from_ms, count=count, **about):
        assert at_ms < NEVER_ENDS_MS, "next_resets ends before never"
        local = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)
        yield {
            "window": cycle.name,
            "resetsAt": format_instant(at_ms),
            "local": local.isoformat(" ", timespec="seconds"),
            "lasts": length(at_ms - starts_ms),
        }
        starts_ms = at_ms


def length(length_ms: int) -> str:
    """A length of time in days, hours, minutes and seconds, as they really pass."""
    seconds = length_ms // 1000
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts) or f"{length_ms} ms"
