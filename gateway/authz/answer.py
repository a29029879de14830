"""What a proxy is told: headers that are always all there, and the problem body of a denial.

RateLimit and RateLimit-Policy are those of draft-ietf-httpapi-ratelimit-headers-11, written by hand
because a general serialiser costs twenty times as much; the tests read them back with one.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from gateway.codec import rfc3339, to_wire
from gateway.errors import URN
from gateway.pricing.decision import Bound, Decision
from gateway.pricing.explain import message
from gateway.pricing.money import format_quantity
from gateway.pricing.window import NEVER_ENDS_MS, Span

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
QUOTA_REASONS = frozenset(
    {
        "limit_reached",
        "allowance_exhausted",
        "credits_exhausted",
        "spend_cap_reached",
        "overage_cap_reached",
    }
)

SF_INTEGER_MAX = 999_999_999_999_999
"""The largest integer of a structured field (RFC 9651)."""

Fields = list[tuple[bytes, bytes]]


def tally_headers(
    status: int, reason: str, customer: str = "", decision: Decision | None = None
) -> Fields:
    """Every X-Tallygate-* and RateLimit* header; empty rather than absent, so that none is a client's."""
    if decision is None:
        plan = balance = resets_at = decision_id = limit = policy = b""
    else:
        plan = (decision.plan or "").encode()
        balance = _quantity(decision)
        resets_at = (
            b"" if decision.resets_at_ms is None else rfc3339(decision.resets_at_ms).encode()
        )
        decision_id = (decision.id or "").encode()
        bounds = [bound for bound in decision.bounds if bound.enforce]
        limit, policy = rate_limit(bounds, decision), rate_limit_policy(bounds, decision)
    return [
        (b"x-tallygate-status", b"%d" % status),
        (b"x-tallygate-reason", reason.encode()),
        (b"x-tallygate-customer", _customer(customer)),
        (b"x-tallygate-plan", plan),
        (b"x-tallygate-balance", balance),
        (b"x-tallygate-resets-at", resets_at),
        (b"x-tallygate-decision", decision_id),
        (b"ratelimit", limit),
        (b"ratelimit-policy", policy),
        (b"cache-control", b"no-store"),
    ]


def rate_limit(bounds: Sequence[Bound], decision: Decision) -> bytes:
    """What is left of each bound in whole units, and when it resets, in seconds."""
    unit = _unit(decision)
    items = []
    for bound in bounds:
        left = min(bound.left // unit, SF_INTEGER_MAX)
        item = b"%b;r=%d" % (_name(bound.name), left)
        if bound.end_ms != NEVER_ENDS_MS:
            item += b";t=%d" % max(0, -(-(bound.end_ms - decision.at_ms) // 1000))
        items.append(item)
    return b", ".join(items)


def rate_limit_policy(bounds: Sequence[Bound], decision: Decision) -> bytes:
    """Each bound's quota in whole units, and its window where that has one length for ever."""
    unit = _unit(decision)
    return b", ".join(_policy(bound.name, bound.max // unit, bound.every) for bound in bounds)


def retry_after(decision: Decision, seconds_max: int) -> Fields:
    """Retry-After of a denial that waiting helps, never longer than the maximum."""
    if decision.retry_after_ms is None:
        return []
    seconds = max(1, -(-decision.retry_after_ms // 1000))
    return [(b"retry-after", b"%d" % min(seconds, seconds_max))]


def denial_problem(decision: Decision, request_id: str) -> dict[str, Any]:
    """The problem of a denial; its status is the true one, whatever the proxy is answered."""
    quota = decision.reason in QUOTA_REASONS
    return {
        "type": QUOTA_EXCEEDED if quota else URN + decision.reason,
        "code": decision.reason,
        "title": "The quota is used up." if quota else "This request is not allowed.",
        "status": decision.http_status,
        "detail": message(decision),
        "requestId": request_id,
        "violated-policies": [
            bound.name
            for bound in decision.bounds
            if quota and bound.enforce and bound.used + decision.quantity > bound.max
        ],
        "decision": decision.id,
        "actions": to_wire(decision)["actions"],
    }


def _unit(decision: Decision) -> int:
    return 1 if decision.ask is None else int(10**decision.ask.feature.scale)


def _quantity(decision: Decision) -> bytes:
    if decision.balance is None:
        return b""
    scale = 0 if decision.ask is None else decision.ask.feature.scale
    return str(format_quantity(decision.balance, scale)).encode()


@lru_cache(maxsize=10_000)
def _customer(customer: str) -> bytes:
    """The id as a header can carry it: everything but printable ASCII percent-encoded, and `%` itself."""
    return quote(customer, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~").encode()


@lru_cache(maxsize=10_000)
def _name(name: str) -> bytes:
    """A name as a structured field's string."""
    text = name.encode("ascii", errors="replace").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"%b"' % text


@lru_cache(maxsize=10_000)
def _policy(name: str, quota: int, every: str) -> bytes:
    item = b"%b;q=%d" % (_name(name), min(quota, SF_INTEGER_MAX))
    try:
        return item + b";w=%d" % (Span.parse(every).length_ms // 1000)
    except ValueError:
        # A month has no one length; the draft leaves `w` out rather than let it change.
        return item
