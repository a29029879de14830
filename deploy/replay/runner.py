"""Sends a recording through a running gateway, at its own times on the test clock or as fast as it goes."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from deploy.replay.formats import Recording, Row, parse_time
from deploy.replay.planes import Plane, ReplayFailed, open_session
from deploy.replay.report import Report, rfc3339
from deploy.replay.schedule import Move, Step, lanes, move_ahead, steps

AT_ONCE = 32
"""Customers whose requests are in flight together; one customer's never are, so their order is kept."""
ADMIN_AT_ONCE = 8
HOP_MS = 3_600 * 86_400_000
"""The control plane moves the clock ten years at once at most."""
HOPS_MAX = 12
INVOICES_MAX = 1_000
"""Ended billing periods of one customer that are added up."""
LEAD_MS = 1_000
"""The clock is set this far into a step of ten seconds or more: a Redis whose own clock is a little behind is
then still in it."""
LEAD_FROM_MS = 10_000

Speed = Literal["recorded", "max"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The running installation."""

    gateway_url: str
    control_url: str
    admin_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to replay and under which plan."""

    recording: Recording
    customer_rule: str
    feature: str
    plan: str
    speed: Speed = "recorded"
    step_ms: int = 60_000
    step_name: str = "minute"
    zone: str = "UTC"
    """The time zone of customers that are created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a replay is: `what` is customers, requests or invoices."""

    what: str
    done: int
    total: int
    at_ms: int | None = None


Tell = Callable[[Progress], None]
T = TypeVar("T")


async def replay(target: Target, job: Job, tell: Tell) -> Report:
    """Runs a recording to its end. Raises ReplayFailed when the installation cannot take it."""
    rows = job.recording.rows
    if not rows:
        raise ReplayFailed("the recording has no readable rows")
    async with open_session() as session:
        gateway = Plane(session, target.gateway_url, target.admin_key)
        control = Plane(session, target.control_url, target.admin_key)
        return await _Run(gateway, control, job, tell).run()


class _Run:
    """One replay under way."""

    def __init__(self, gateway: Plane, control: Plane, job: Job, tell: Tell) -> None:
        self._gateway = gateway
        self._control = control
        self._job = job
        self._tell = tell
        self._id = secrets.token_hex(6)
        self._clock = _Clock(control)
        self._report = Report(
            rows=len(job.recording.rows),
            unreadable=len(job.recording.unreadable),
            out_of_order=job.recording.out_of_order,
            customer_rule=job.customer_rule,
            first_ms=job.recording.rows[0].at_ms,
            last_ms=job.recording.rows[-1].at_ms,
        )
        self._sent = 0

    async def run(self) -> Report:
        began_ns = time.monotonic_ns()
        rows, report = self._job.recording.rows, self._report
        move = None
        if self._job.speed == "recorded":
            move = move_ahead(rows[0].at_ms, rows[-1].at_ms, await self._clock.read())
            await self._clock.set(move.starts_ms)
            report.moved_years, report.clock_step = move.years, self._job.step_name
        await self._enrol(move)
        if move is None:
            await self._send(lanes(rows), None)
        else:
            for step in steps(rows, move, self._job.step_ms):
                await self._step(step)
        await self._bill(move)
        report.took_ms = (time.monotonic_ns() - began_ns) // 1_000_000
        return report

    async def _enrol(self, move: Move | None) -> None:
        """Create the customers that are missing, under the plan; those there are keep theirs."""
        customers = list(dict.fromkeys(row.customer for row in self._job.recording.rows))
        subscription = {"plan": self._job.plan}
        if move is not None:
            subscription["startsAt"] = rfc3339(move.starts_ms)
        done = 0

        async def enrol(customer: str) -> None:
            nonlocal done
            path = f"/v1/customers/{quote(customer, safe='')}"
            if await self._control.call("GET", path, absent_ok=True) is None:
                await self._control.call("PUT", path, {"timeZone": self._job.zone})
                await self._control.call("PUT", f"{path}/subscription", subscription)
                self._report.customers_created += 1
            done += 1
            self._tell(Progress(what="customers", done=done, total=len(customers)))

        await _each(customers, enrol, ADMIN_AT_ONCE)

    async def _step(self, step: Step) -> None:
        lead_ms = LEAD_MS if self._job.step_ms >= LEAD_FROM_MS else 0
        if self._clock.latest_ms() < step.starts_ms + lead_ms:
            await self._clock.set(step.starts_ms + lead_ms)
        await self._send(step.lanes, step)

    async def _send(self, work: Iterable[Sequence[Row]], step: Step | None) -> None:
        async def lane(rows: Sequence[Row]) -> None:
            for row in rows:
                await self._consume(row)
                if step is not None and self._clock.latest_ms() >= step.ends_ms:
                    self._report.late += 1

        await _each(work, lane, AT_ONCE)

    async def _consume(self, row: Row) -> None:
        body = {
            "customer": row.customer,
            "feature": self._job.feature,
            "quantity": row.quantity,
            # A try whose answer was lost must not count twice; the run's own id keeps a second replay apart.
            "idempotencyKey": f"replay-{self._id}-{row.number}",
        }
        self._report.count(row, await self._gateway.call("POST", "/v1/consume", body))
        self._sent += 1
        self._tell(
            Progress(what="requests", done=self._sent, total=self._report.rows, at_ms=row.at_ms)
        )

    async def _bill(self, move: Move | None) -> None:
        """Add up what the customers owe: the running period, and those that ended and were issued meanwhile."""
        customers, done = list(self._report.by_customer), 0

        async def bill(customer: str) -> None:
            nonlocal done
            path = f"/v1/customers/{quote(customer, safe='')}/invoices/upcoming"
            invoice = await self._control.call("GET", path, absent_ok=True)
            if invoice is not None:
                self._report.bill(invoice)
                if move is not None and invoice["period"]["start"] > rfc3339(move.starts_ms):
                    await self._bill_issued(customer, move)
            done += 1
            self._tell(Progress(what="invoices", done=done, total=len(customers)))

        await _each(customers, bill, ADMIN_AT_ONCE)

    async def _bill_issued(self, customer: str, move: Move) -> None:
        path = f"/v1/invoices?limit={INVOICES_MAX}&customer={quote(customer, safe='')}"
        for invoice in (await self._control.call("GET", path))["data"]:
            if invoice["status"] != "void" and invoice["period"]["end"] > rfc3339(move.starts_ms):
                self._report.bill(invoice)


class _Clock:
    """The installation's test clock, and an upper bound of what it shows now."""

    def __init__(self, control: Plane) -> None:
        self._control = control
        self._set_ms = 0
        self._asked_ns = time.monotonic_ns()

    async def read(self) -> int:
        """Milliseconds since 1970 by the test clock. Raises ReplayFailed where it is not enabled."""
        answer: dict[str, Any] = await self._control.call("GET", "/v1/clock")
        if not answer["testClock"]:
            raise ReplayFailed(
                "recorded times need the test clock: start with --test-clock "
                "(TALLYGATE_TEST_CLOCK=1), or replay with --speed max"
            )
        return parse_time(answer["now"], "iso", UTC)

    async def set(self, at_ms: int) -> None:
        """Set it forward, in hops the control plane accepts."""
        at_hop_ms = await self.read() if self._set_ms == 0 else self.latest_ms()
        for _ in range(HOPS_MAX):
            at_hop_ms = min(at_ms, at_hop_ms + HOP_MS)
            asked_ns = time.monotonic_ns()
            await self._control.call("POST", "/v1/clock", {"set": rfc3339(at_hop_ms)})
            self._set_ms, self._asked_ns = at_hop_ms, asked_ns
            if at_hop_ms == at_ms:
                return
        raise ReplayFailed(f"the clock could not be set to {rfc3339(at_ms)}")

    def latest_ms(self) -> int:
        """What it shows at most: it goes on with real time from when we asked for it to be set."""
        return self._set_ms + (time.monotonic_ns() - self._asked_ns) // 1_000_000


async def _each(work: Iterable[T], do: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """Does each piece of work, so many at once; the first failure stops the rest and is raised."""
    waiting = iter(work)

    async def worker() -> None:
        for piece in waiting:
            await do(piece)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
