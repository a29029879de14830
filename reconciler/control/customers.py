"""Customers: who is billed."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from psycopg import Connection
from psycopg.types.json import Jsonb

from gateway.pricing.money import format_decimal
from gateway.pricing.window import zone_named
from reconciler.clock import instant, milliseconds, rfc3339
from reconciler.control.body import exact
from reconciler.control.call import Answer, Call, Operation, Parts, limit_of
from reconciler.control.errors import Conflict, Fault, Invalid, NotFound, NotSupportedYet
from reconciler.control.pages import answer_page
from reconciler.control.subscription_shown import subscription_plain
from reconciler.phases import Account, Phase, account_of, catalog_of, phases_of
from reconciler.publisher import compile_customer, forget_keys, push_customer
from reconciler.sql import queries
from reconciler.upcoming import unbilled

Name = Annotated[str, msgspec.Meta(max_length=255)]
Text = Annotated[str, msgspec.Meta(max_length=2_000)]
Code = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
Number = Annotated[
    Any, msgspec.Meta(extra_json_schema={"type": ["string", "number"], "examples": ["19", "7.7"]})
]
MEMBERS_MAX = 50
"""Entries of `metadata` or of an `address` in parts."""
_DOC_FIELDS = ("name", "email", "address", "taxId", "tax", "metadata")


class TaxBody(msgspec.Struct, forbid_unknown_fields=True):
    """A tax on everything the customer is billed."""

    name: Name
    percent: Number
    inclusive: bool = False


class CustomerBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Everything that is said of a customer: what is left out is empty afterwards."""

    name: Name | None = None
    email: Name | None = None
    address: Text | dict[Name, Text] | None = None
    tax_id: Name | None = None
    tax: TaxBody | None = None
    currency: Code | None = None
    """ISO 4217; null: the plan's."""
    time_zone: Name = "UTC"
    """IANA name: calendar windows and days are cut in it."""
    spend_cap: Any = None
    """Not supported yet."""
    suspended: bool = False
    metadata: dict[Name, Text | int | bool | None] = {}


def put_customer(parts: Parts, call: Call) -> Answer:
    """Create a customer or replace what is said of one."""
    call.queries()
    customer, body = call.customer, call.struct(CustomerBody)
    doc = _doc_of(body)
    with parts.postgres() as connection:
        with connection.transaction():
            now_ms = parts.clock.now_ms(connection)
            before = account_of(connection, customer, lock=True)
            phases = phases_of(connection, customer) if before else []
            if before is not None:
                _check_change(connection, before, phases, body, now_ms)
            connection.execute(
                queries["control_save_customer"],
                {
                    "customer": customer,
                    "doc": Jsonb(doc),
                    "currency": body.currency,
                    "time_zone": body.time_zone,
                    "suspended": body.suspended,
                    "now": instant(now_ms),
                },
            )
            compile_customer(connection, customer, at_ms=now_ms)
        in_force = _push(parts, connection, customer)
        shown = _shown(connection, customer, now_ms)
    return Answer(body={**shown, "applied": in_force}, status=200 if in_force else 202)


def get_customer(parts: Parts, call: Call) -> Answer:
    """One customer, with the subscription."""
    call.queries()
    with parts.postgres() as connection, connection.transaction():
        return Answer(body=_shown(connection, call.customer, parts.clock.now_ms(connection)))


def list_customers(parts: Parts, call: Call) -> Answer:
    """Customers by id."""
    asked = call.queries("limit", "after")
    limit = limit_of(asked)
    with parts.postgres() as connection:
        rows = connection.execute(
            queries["control_customers"],
            {"after": asked.get("after", ""), "limit": limit + 1},
        ).fetchall()
    shown = [_plain(row) for row in rows]
    return answer_page(shown, limit, lambda each: str(each["id"]))


def delete_customer(parts: Parts, call: Call) -> Answer:
    """Delete a customer who was never billed and has used nothing that costs, with subscription and keys."""
    call.queries()
    customer = call.customer
    with parts.postgres() as connection:
        with connection.transaction():
            now_ms = parts.clock.now_ms(connection)
            if account_of(connection, customer, lock=True) is None:
                raise NotFound(f"There is no customer {customer!r}.")
            counted = connection.execute(
                queries["control_invoices_of_customer"], {"customer": customer}
            ).fetchone()
            if counted and counted[0]:
                raise Conflict(
                    f"{customer!r} has {counted[0]} invoices, which must be kept. "
                    "End the subscription or suspend the customer instead.",
                    code="customer_has_invoices",
                )
            if owed := unbilled(connection, parts.redis, customer):
                said = ", ".join(
                    f"{format_decimal(each)} for {name}" for name, each in owed.items()
                )
                raise Conflict(
                    f"{customer!r} has used what is not billed yet: {said}. End the subscription "
                    "and issue the last invoice instead.",
                    code="customer_has_unbilled_usage",
                )
            rows = connection.execute(
                queries["control_key_digests_of_customer"], {"customer": customer}
            ).fetchall()
            connection.execute(queries["control_delete_customer"], {"customer": customer})
            compile_customer(connection, customer, at_ms=now_ms)
            # Before the commit: afterwards nothing would know that these keys are to be forgotten.
            forget_keys(parts.redis, [row[0] for row in rows])
        in_force = _push(parts, connection, customer)
    return Answer(
        body={"id": customer, "deleted": True, "applied": in_force},
        status=200 if in_force else 202,
    )


def _push(parts: Parts, connection: Connection[Any], customer: str) -> bool:
    kept_ms = parts.settings.past_kept_ms
    return push_customer(connection, parts.redis, customer, past_kept_ms=kept_ms)


def _doc_of(body: CustomerBody) -> dict[str, Any]:
    """What Postgres keeps of the body beside its own columns. Raises Invalid with every fault."""
    faults: list[Fault] = []

    def check(pointer: str, good: bool, detail: str, code: str = "invalid_value") -> None:
        if not good:
            faults.append(Fault(pointer=pointer, code=code, detail=detail))

    yet = "spendCap is not supported yet by this release; leave it out."
    check("/spendCap", body.spend_cap is None, yet, "not_supported_yet")
    try:
        zone_named(body.time_zone)
    except ValueError as error:
        check("/timeZone", False, str(error))
    for name, members in (("metadata", body.metadata), ("address", body.address)):
        if isinstance(members, dict):
            few = len(members) <= MEMBERS_MAX
            check(f"/{name}", few, f"{name} has at most {MEMBERS_MAX} entries.")
    tax = None
    if body.tax is not None:
        percent = Decimal(0)
        try:
            percent = exact(body.tax.percent, "/tax/percent")
        except Invalid as error:
            faults.extend(error.errors)
        check("/tax/percent", 0 <= percent <= 100, "percent lies between 0 and 100.")
        tax = {
            "name": body.tax.name,
            "percent": format_decimal(percent),
            "inclusive": body.tax.inclusive,
        }
    if faults:
        raise Invalid(faults[0].detail, code=faults[0].code, errors=faults)
    said = msgspec.to_builtins(body)
    return {name: tax if name == "tax" else said[name] for name in _DOC_FIELDS if said.get(name)}


def _check_change(
    connection: Connection[Any],
    before: Account,
    phases: list[Phase],
    body: CustomerBody,
    now_ms: int,
) -> None:
    """Refuse what would move the periods or the money of a subscription that runs or has yet to be billed."""
    open_ = [
        each
        for each in phases
        if each.due_ms is not None or each.ends_ms is None or each.ends_ms > now_ms
    ]
    if open_ and body.time_zone != before.zone:
        raise NotSupportedYet.at(
            "/timeZone",
            f"The time zone ({before.zone}) of a subscription that runs, or whose last invoice is "
            "not made yet, cannot change yet.",
            "not_supported_yet",
        )
    for phase in open_:
        plan = catalog_of(connection, phase.catalog).plans[phase.plan]
        if body.currency is not None and body.currency != plan.currency:
            raise Invalid.at(
                "/currency",
                f"The subscription to {plan.id!r}, which runs or has yet to be billed, is priced "
                f"in {plan.currency}.",
            )


def _shown(connection: Connection[Any], customer: str, now_ms: int) -> dict[str, Any]:
    row = connection.execute(queries["control_customer"], {"customer": customer}).fetchone()
    account = account_of(connection, customer)
    if row is None or account is None:
        raise NotFound(f"There is no customer {customer!r}.")
    phases = phases_of(connection, customer)
    return {**_plain(row), "subscription": subscription_plain(connection, account, phases, now_ms)}


def _plain(row: Any) -> dict[str, Any]:
    customer, doc, currency, time_zone, suspended, created_at, updated_at = row
    said: Mapping[str, Any] = doc
    return {
        "id": customer,
        **{name: said.get(name) for name in _DOC_FIELDS if name != "metadata"},
        "currency": currency,
        "timeZone": time_zone,
        "suspended": suspended,
        "metadata": said.get("metadata", {}),
        "createdAt": rfc3339(milliseconds(created_at)),
        "updatedAt": rfc3339(milliseconds(updated_at)),
    }


OPERATIONS = (
    Operation(
        method="PUT",
        path="/v1/customers/{customer}",
        endpoint=put_customer,
        summary="Create a customer, or replace what is said of one",
        scope="admin",
        body=CustomerBody,
        statuses=(200, 202),
    ),
    Operation(
        method="GET",
        path="/v1/customers/{customer}",
        endpoint=get_customer,
        summary="One customer, with the subscription",
        scope="read",
    ),
    Operation(
        method="DELETE",
        path="/v1/customers/{customer}",
        endpoint=delete_customer,
        summary="Delete a customer; 409 once there is an invoice or usage that costs",
        scope="admin",
        statuses=(200, 202),
    ),
    Operation(
        method="GET",
        path="/v1/customers",
        endpoint=list_customers,
        summary="Customers by id",
        scope="read",
        query={"limit": "rows, 1 to 1000", "after": "the cursor that an answer called next"},
    ),
)
