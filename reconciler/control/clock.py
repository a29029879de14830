"""The clock: what time the control plane has, and the test clock where it is enabled."""

from typing import Annotated

import msgspec

from gateway.pricing.window import Span, format_instant
from reconciler.clock import ClockRefused, later
from reconciler.control.call import Answer, Call, Operation, Parts, time_of
from reconciler.control.errors import Conflict, Invalid

Text = Annotated[str, msgspec.Meta(max_length=64)]


class ClockBody(msgspec.Struct, forbid_unknown_fields=True):
    """How far to move the test clock: one of the two."""

    advance: Text | None = None
    """A span such as `31 days` or `1 month`."""
    set: Text | None = None
    """RFC 3339; not in the past of the clock."""


def get_clock(parts: Parts, call: Call) -> Answer:
    """What time it is."""
    call.queries()
    with parts.postgres() as connection:
        return Answer(
            body=_plain(parts, parts.clock.now_ms(connection), parts.clock.offset_ms(connection))
        )


def post_clock(parts: Parts, call: Call) -> Answer:
    """Move the test clock forward."""
    call.queries()
    body = call.struct(ClockBody)
    if (body.advance is None) == (body.set is None):
        raise Invalid.at(
            "", 'Say one of {"advance": "31 days"} and {"set": "2026-12-01T00:00:00Z"}.'
        )
    if not parts.clock.test_clock:
        raise Conflict(
            "The test clock is not enabled; start with TALLYGATE_TEST_CLOCK=1.",
            code="test_clock_off",
        )
    with parts.postgres() as connection:
        try:
            if body.set is not None:
                at_ms = time_of(body.set, "/set")
            else:
                span = Span.parse(body.advance or "")
                at_ms = later(parts.clock.now_ms(connection), span)
            now_ms = parts.clock.move_to(connection, parts.redis, at_ms)
        except ClockRefused as error:
            raise Conflict(str(error), code="clock_refused") from None
        except ValueError as error:
            raise Invalid.at("/advance", f"{error}.") from None
        return Answer(body=_plain(parts, now_ms, parts.clock.offset_ms(connection)))


def _plain(parts: Parts, now_ms: int, offset_ms: int) -> dict[str, object]:
    return {
        "now": format_instant(now_ms),
        "testClock": parts.clock.test_clock,
        "offsetMs": offset_ms,
    }


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/clock",
        endpoint=get_clock,
        summary="What time it is",
        scope="read",
    ),
    Operation(
        method="POST",
        path="/v1/clock",
        endpoint=post_clock,
        summary="Move the test clock forward",
        scope="admin",
        body=ClockBody,
    ),
)
