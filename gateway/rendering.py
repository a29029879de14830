"""The usual answer as JSON, straight from the script's numbers: what never changes while no window ends is kept.

An allowed decision over one feature is nearly all of the traffic. Making it a `Decision`, that a dict and that JSON takes
three times as long as filling it in. Anything less usual gets None here and takes that way; a test holds the two to
the same bytes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from gateway.codec import rfc3339
from gateway.outcome import HEAD, ITEM
from gateway.pricing.ask import Ask
from gateway.pricing.decision import HTTP_STATUS
from gateway.pricing.explain import relative, standing, within
from gateway.pricing.money import format_amount
from gateway.pricing.window import NEVER_ENDS_MS

_json = msgspec.json.Encoder().encode
_WINDOWS = HEAD + ITEM
"""Where the first item's windows begin in the numbers."""


class Rendered(NamedTuple):
    """An answer that is ready to be sent."""

    feature: str
    plan: str
    reason: str
    body: bytes


class _Ceiling(NamedTuple):
    """One bound of the feature and the JSON around its numbers."""

    place: int
    max: int
    end_ms: int
    blocks: bool
    counts: bool
    enforce: bool
    within: str
    resets_at: str
    head: str
    tail: str


class Rendering:
    """Fills in the usual answer of one feature for as long as its Ask holds."""

    def __init__(self, ask: Ask) -> None:
        entitlement, feature = ask.entitlement, ask.feature
        self._name = feature.name
        self._feature, self._plan = feature.feature, entitlement.plan
        self._unlimited = feature.included is None
        self._unpaid = feature.included == 0 and feature.overage != "block"
        self._enforce = feature.enforce
        self._ceilings = [_ceiling(ask, place) for place in range(len(ask.ceilings))]
        self._status = {
            reason: entitlement.statuses.get(reason) or HTTP_STATUS[reason]
            for reason in ("included", "overage", "unlimited")
        }
        self._subject = f'"customer":{_text(entitlement.customer)},"feature":{_text(self._feature)}'
        self._currency = _text(entitlement.currency)
        self._end = f'"plan":{_text(entitlement.plan)},"catalog":{entitlement.catalog}'

    @classmethod
    def of(cls, ask: Ask) -> "Rendering | None":
        """For a feature counted in whole units whose windows are all known beforehand, else None."""
        if ask.feature.scale or any(window.length_ms for window in ask.windows):
            return None
        return cls(ask)

    def render(self, numbers: Sequence[int], decision_id: str | None) -> Rendered | None:
        """The answer to an allowed request over this feature alone; None when it is not a usual one."""
        quantity, included, overage, beyond, cost = numbers[HEAD + 1 : HEAD + 6]
        if beyond:
            return None
        binding: _Ceiling | None = None
        balance: int | None = None
        available: int | None = None
        least, most_used = 0, numbers[_WINDOWS]
        windows = []
        for ceiling in self._ceilings:
            used = numbers[ceiling.place]
            left = ceiling.max - used
            if left < 0:
                if ceiling.blocks:
                    return None
                left = 0
            if binding is None or left < least:
                binding, least, most_used = ceiling, left, used
            if ceiling.counts and (balance is None or left < balance):
                balance = left
            if ceiling.enforce and (available is None or left < available):
                available = left
            windows.append(f"{ceiling.head}{used}{ceiling.tail}")
        reason = "overage" if overage else "unlimited" if self._unlimited else "included"
        limit, resets_at, said = "null", "null", f"{most_used:,} {self._name} used."
        if binding is not None:
            limit, resets_at = str(binding.max), binding.resets_at
            said = self._said(binding, least, most_used, overage, numbers[1])
        body = (
            f'{{"allowed":true,"reason":"{reason}","httpStatus":{self._status[reason]},'
            f'"message":{_text(said)},{self._subject},"quantity":{quantity},'
            f'"balance":{_number(0 if self._unpaid else balance)},'
            f'"available":{_number(available if self._enforce else None)},"used":{most_used},'
            f'"limit":{limit},"resetsAt":{resets_at},"retryAfterMs":null,'
            f'"sources":{{"included":{included},"rollover":0,"credits":0,"overage":{overage}}},'
            f'"credits":{{}},"cost":"{format_amount(cost) if cost else 0}",'
            f'"currency":{self._currency},"windows":[{",".join(windows)}],{self._end},'
            f'"decision":{"null" if decision_id is None else _text(decision_id)},'
            f'"degraded":false,"alerts":[],"actions":[]}}'
        )
        return Rendered(self._feature, self._plan, reason, body.encode())

    def _said(self, binding: _Ceiling, left: int, used: int, overage: int, at_ms: int) -> str:
        resets = ""
        if binding.end_ms != NEVER_ENDS_MS:
            resets = f" Resets in {relative(binding.end_ms - at_ms)}."
        over = overage > 0 or used > binding.max
        amounts = (f"{left:,}", f"{used:,}", f"{binding.max:,}")
        return standing(self._name, *amounts, binding.within, resets, over=over)


def _ceiling(ask: Ask, place: int) -> _Ceiling:
    ceiling = ask.ceilings[place]
    end_ms = ask.windows[ceiling.window].end_ms
    resets_at = "null" if end_ms == NEVER_ENDS_MS else _text(rfc3339(end_ms))
    return _Ceiling(
        place=_WINDOWS + 2 * ceiling.window,
        max=ceiling.max,
        end_ms=end_ms,
        blocks=ceiling.enforce or not ceiling.paid,
        counts=ceiling.enforce or ceiling.paid,
        enforce=ceiling.enforce,
        within=within(ceiling.every),
        resets_at=resets_at,
        head=f'{{"name":{_text(ceiling.name)},"every":{_text(ceiling.every)},"used":',
        tail=f',"limit":{ceiling.max},"resetsAt":{resets_at}}}',
    )


def _text(text: str) -> str:
    return _json(text).decode()


def _number(number: int | None) -> str:
    return "null" if number is None else str(number)
