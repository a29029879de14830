"""Subscriptions: which plan a customer is on, from when, in which catalog."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
from psycopg import Connection

from gateway.pricing.catalog import CatalogInvalid
from gateway.pricing.subscription import SubscriptionInvalid, billing_period_at, interval_at
from gateway.pricing.unsupported import refuse_unsupported_overrides
from gateway.pricing.window import format_instant
from reconciler.catalog_moves import live_version
from reconciler.control.body import texts, unknown_name
from reconciler.control.call import Answer, Call, Operation, Parts, choice_of, fault_of, time_of
from reconciler.control.errors import Conflict, Fault, Invalid, NotFound, NotSupportedYet
from reconciler.control.first_price import refuse_part_of_an_interval
from reconciler.control.subscription_shown import chain_of, subscription_plain
from reconciler.phases import (
    Account,
    Phase,
    account_of,
    catalog_of,
    drop_phase,
    phase_at,
    phases_of,
    save_phase,
    subscription_of,
)
from reconciler.publisher import compile_customer, push_customer
from reconciler.sql import queries

Quantity = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Instant = Annotated[str, msgspec.Meta(max_length=40, extra_json_schema={"format": "date-time"})]
STARTS_MS_MIN = 946_684_800_000
"""2000-01-01: no subscription begins earlier."""


class SubscriptionBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The subscription as it shall be."""

    plan: Annotated[str, msgspec.Meta(max_length=255)]
    quantity: Quantity | None = None
    """Null: 1, or what it is already."""
    starts_at: Instant | None = None
    """Null: now, or what it is already."""
    anchor: Instant | None = None
    """Billing periods are counted from here. Null: the start, or what it is already."""
    overrides: dict[str, Any] = {}
    """Merged into the plan for this customer alone, in the grammar of the catalog."""
    when: Literal["now", "period_end"] = "now"
    usage: Literal["carry", "reset"] = "carry"
    proration: Literal["second", "day", "none"] = "second"
    addons: dict[str, Any] | None = None
    """Not supported yet."""
    trial_ends_at: Instant | None = None
    """Not supported yet."""
    discount: dict[str, Any] | None = None
    """Not supported yet."""


def put_subscription(parts: Parts, call: Call) -> Answer:
    """Begin a subscription, or change what of a running one may change."""
    call.queries()
    customer, body = call.customer, call.struct(SubscriptionBody)
    _refuse_later_fields(body)
    overrides = texts(body.overrides)
    with parts.postgres() as connection:
        try:
            with connection.transaction():
                refuse_unsupported_overrides(overrides)
                now_ms = parts.clock.now_ms(connection)
                connection.execute(queries["control_catalog_lock_shared"])
                account = _locked(connection, customer)
                _save(connection, account, body, overrides, now_ms)
                compile_customer(connection, customer, at_ms=now_ms)
        except CatalogInvalid as error:
            faults = [fault_of(problem) for problem in error.problems]
            raise Invalid(faults[0].detail, code=faults[0].code, errors=faults) from None
        except SubscriptionInvalid as error:
            raise Invalid.at("/plan", f"{error}.") from None
        return _answer(parts, connection, account, now_ms)


def get_subscription(parts: Parts, call: Call) -> Answer:
    """The subscription of a customer."""
    call.queries()
    with parts.postgres() as connection, connection.transaction():
        account = account_of(connection, call.customer)
        if account is None:
            raise NotFound(f"There is no customer {call.customer!r}.")
        now_ms = parts.clock.now_ms(connection)
        phases = phases_of(connection, account.id)
        shown = subscription_plain(connection, account, phases, now_ms)
    if shown is None:
        raise NotFound(f"{call.customer!r} has no subscription.", code="no_subscription")
    return Answer(body=shown)


def delete_subscription(parts: Parts, call: Call) -> Answer:
    """End a subscription, now or at the end of what has been paid for."""
    when = choice_of(call.queries("when"), "when", ("now", "period_end"), "now")
    customer = call.customer
    with parts.postgres() as connection:
        with connection.transaction():
            now_ms = parts.clock.now_ms(connection)
            account = _locked(connection, customer)
            phases = phases_of(connection, customer)
            running = _running(phases, now_ms)
            if not running:
                raise NotFound(f"{customer!r} has no running subscription.", code="no_subscription")
            current = running[phase_at(running, now_ms) or 0]
            ends_ms = now_ms
            if when == "period_end":
                subscription = subscription_of(connection, account, current)
                ends_ms = interval_at(subscription, max(now_ms, current.starts_ms)).end_ms
            _end_at(connection, running, ends_ms, now_ms)
            compile_customer(connection, customer, at_ms=now_ms)
        return _answer(parts, connection, account, now_ms)


def _answer(parts: Parts, connection: Connection[Any], account: Account, now_ms: int) -> Answer:
    in_force = push_customer(
        connection, parts.redis, account.id, past_kept_ms=parts.settings.past_kept_ms
    )
    phases = phases_of(connection, account.id)
    shown = subscription_plain(connection, account, phases, now_ms) or {"status": "none"}
    return Answer(body={**shown, "applied": in_force}, status=200 if in_force else 202)


def _locked(connection: Connection[Any], customer: str) -> Account:
    account = account_of(connection, customer, lock=True)
    if account is None:
        raise NotFound(f"There is no customer {customer!r}; PUT /v1/customers/… first.")
    return account


def _refuse_later_fields(body: SubscriptionBody) -> None:
    given = {
        "addons": bool(body.addons),
        "trialEndsAt": body.trial_ends_at is not None,
        "discount": bool(body.discount),
        "when": body.when != "now",
        "usage": body.usage != "carry",
        "proration": body.proration != "second",
    }
    faults = [
        Fault(
            pointer=f"/{name}",
            code="not_supported_yet",
            detail=f"{name} is not supported yet by this release; leave it out.",
        )
        for name, is_given in given.items()
        if is_given
    ]
    if faults:
        raise NotSupportedYet(faults[0].detail, errors=faults)


def _running(phases: Sequence[Phase], now_ms: int) -> list[Phase]:
    return [each for each in phases if each.ends_ms is None or each.ends_ms > now_ms]


def _save(
    connection: Connection[Any],
    account: Account,
    body: SubscriptionBody,
    overrides: dict[str, Any],
    now_ms: int,
) -> None:
    phases = phases_of(connection, account.id)
    running = _running(phases, now_ms)
    begun = [each for each in running if each.starts_ms <= now_ms]
    if not begun:
        for phase in running:
            drop_phase(connection, phase)
        ended = [each for each in phases if each not in running]
        _begin(connection, account, ended, body, overrides, now_ms)
        return
    chain = chain_of(phases, phases.index(begun[0]))
    _refuse_change(chain, begun[0], body)
    for phase in running:
        ends_ms = None if phase is running[-1] else phase.ends_ms
        changed = replace(phase, overrides=overrides, ends_ms=ends_ms)
        save_phase(connection, changed, at_ms=now_ms)


def _begin(
    connection: Connection[Any],
    account: Account,
    ended: Sequence[Phase],
    body: SubscriptionBody,
    overrides: dict[str, Any],
    now_ms: int,
) -> None:
    version = live_version(connection)
    if version is None:
        raise Conflict("No catalog has been pushed yet: PUT /v1/catalog first.", code="no_catalog")
    catalog = catalog_of(connection, version)
    if body.plan not in catalog.plans:
        fault = unknown_name("plan", body.plan, list(catalog.plans), "/plan")
        raise Invalid(fault.detail, code="unknown_plan", errors=[fault])
    starts_ms = now_ms if body.starts_at is None else time_of(body.starts_at, "/startsAt")
    anchor_ms = starts_ms if body.anchor is None else time_of(body.anchor, "/anchor")
    if starts_ms < STARTS_MS_MIN:
        raise Invalid.at("/startsAt", "A subscription begins in 2000 or later.")
    phase = Phase(
        customer=account.id,
        starts_ms=starts_ms,
        ends_ms=None,
        anchor_ms=anchor_ms,
        plan=body.plan,
        catalog=version,
        quantity=body.quantity or 1,
        overrides=overrides,
    )
    if ended:
        ended_ms = ended[-1].ends_ms or 0
        if starts_ms < ended_ms:
            raise Invalid.at(
                "/startsAt", f"An earlier subscription ran until {format_instant(ended_ms)}."
            )
        period = billing_period_at(subscription_of(connection, account, phase), starts_ms)
        if period.start_ms < ended_ms:
            raise Invalid.at(
                "/anchor",
                "Counted from there, the first billing period would begin before the earlier "
                f"subscription ended at {format_instant(ended_ms)}.",
            )
    refuse_part_of_an_interval(subscription_of(connection, account, phase))
    save_phase(connection, phase, at_ms=now_ms)


def _refuse_change(chain: Sequence[Phase], current: Phase, body: SubscriptionBody) -> None:
    """Raise NotSupportedYet for every change of a running subscription that is not built yet."""
    asked = {
        "plan": (body.plan, current.plan),
        "quantity": (body.quantity, current.quantity),
        "startsAt": (
            body.starts_at and time_of(body.starts_at, "/startsAt"),
            chain[0].starts_ms,
        ),
        "anchor": (body.anchor and time_of(body.anchor, "/anchor"), current.anchor_ms),
    }
    faults = [
        Fault(
            pointer=f"/{name}",
            code="not_supported_yet",
            detail=f"Changing the {name} of a running subscription is not supported yet; "
            "end it and begin another, or leave it as it is.",
        )
        for name, (wanted, present) in asked.items()
        if wanted is not None and wanted != present
    ]
    if faults:
        raise NotSupportedYet(faults[0].detail, errors=faults)


def _end_at(
    connection: Connection[Any], running: Sequence[Phase], ends_ms: int, now_ms: int
) -> None:
    """Cut the phases off at an instant; a phase that would not have begun is removed."""
    for phase in running:
        if phase.starts_ms >= ends_ms:
            if phase.billed_to_ms is None or phase.starts_ms > now_ms:
                drop_phase(connection, phase)
            else:
                # Begun and billed in this very millisecond: the shortest phase there can be.
                ended = replace(phase, ends_ms=phase.starts_ms + 1)
                save_phase(connection, ended, at_ms=now_ms)
        elif phase.ends_ms is None or phase.ends_ms > ends_ms:
            save_phase(connection, replace(phase, ends_ms=ends_ms), at_ms=now_ms)


OPERATIONS = (
    Operation(
        method="PUT",
        path="/v1/customers/{customer}/subscription",
        endpoint=put_subscription,
        summary="Begin a subscription to a plan of the live catalog, or change its overrides",
        scope="admin",
        body=SubscriptionBody,
        statuses=(200, 202),
    ),
    Operation(
        method="GET",
        path="/v1/customers/{customer}/subscription",
        endpoint=get_subscription,
        summary="The subscription of a customer",
        scope="read",
    ),
    Operation(
        method="DELETE",
        path="/v1/customers/{customer}/subscription",
        endpoint=delete_subscription,
        summary="End a subscription",
        scope="admin",
        query={"when": "now (default), or period_end: the end of what has been paid for"},
        statuses=(200, 202),
    ),
)
