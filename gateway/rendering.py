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


class _Ceiling:
    """One bound of the feature, the JSON that stays, and the words of its reset while they hold."""

    __slots__ = (
        *("at", "blocks", "counts", "end_ms", "enforce", "limit", "max", "place"),
        *("resets", "resets_at", "resets_from_ms", "resets_until_ms", "within", "words"),
    )

    def __init__(self, ask: Ask, place: int) -> None:
        ceiling = ask.ceilings[place]
        self.place = _WINDOWS + 2 * ceiling.window
        self.max = ceiling.max
        self.end_ms = ask.windows[ceiling.window].end_ms
        self.blocks = ceiling.enforce or not ceiling.paid
        self.counts = ceiling.enforce or ceiling.paid
        self.enforce = ceiling.enforce
        self.limit = str(ceiling.max)
        self.words = f"{ceiling.max:,}"
        self.within = within(ceiling.every)
        self.resets_at = "null" if self.end_ms == NEVER_ENDS_MS else _text(rfc3339(self.end_ms))
        self.resets, self.resets_from_ms, self.resets_until_ms = "", 0, 0

    def resets_in(self, at_ms: int) -> str:
        """ " Resets in 47 minutes.", the same words until the minute (at the end, the second) is over."""
        if self.end_ms == NEVER_ENDS_MS:
            return ""
        if not self.resets_from_ms < at_ms <= self.resets_until_ms:
            step_ms = 60_000 if self.end_ms - at_ms > 60_000 else 1_000
            self.resets_from_ms = self.end_ms - -(-(self.end_ms - at_ms) // step_ms) * step_ms - 1
            self.resets_until_ms = self.resets_from_ms + step_ms
            self.resets = f" Resets in {relative(self.end_ms - at_ms)}."
        return self.resets


class Rendering:
    """Fills in the usual answer of one feature for as long as its Ask holds."""

    def __init__(self, ask: Ask) -> None:
        entitlement, feature = ask.entitlement, ask.feature
        self._name = feature.name
        self._feature, self._plan = feature.feature, entitlement.plan
        self._unlimited = feature.included is None
        self._unpaid = feature.included == 0 and feature.overage != "block"
        self._enforce = feature.enforce
        self._ceilings = [_Ceiling(ask, place) for place in range(len(ask.ceilings))]
        self._status = {
            reason: entitlement.statuses.get(reason) or HTTP_STATUS[reason]
            for reason in ("included", "overage", "unlimited")
        }
        windows = ",".join(
            f'{{"name":{_fixed(c.name)},"every":{_fixed(c.every)},"used":%d,'
            f'"limit":{c.max},"resetsAt":{ceiling.resets_at}}}'
            for c, ceiling in zip(ask.ceilings, self._ceilings, strict=True)
        )
        self._body = (
            '{"allowed":true,"reason":"%s","httpStatus":%d,"message":%s,'
            f'"customer":{_fixed(entitlement.customer)},"feature":{_fixed(self._feature)},'
            '"quantity":%d,"balance":%s,"available":%s,"used":%d,"limit":%s,"resetsAt":%s,'
            '"retryAfterMs":null,'
            '"sources":{"included":%d,"rollover":0,"credits":0,"overage":%d},"credits":{},'
            f'"cost":"%s","currency":{_fixed(entitlement.currency)},"windows":[{windows}],'
            f'"plan":{_fixed(entitlement.plan)},"catalog":{entitlement.catalog},'
            '"decision":%s,"degraded":false,"alerts":[],"actions":[]}'
        )

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
            windows.append(used)
        if binding is None:
            limit = resets_at = "null"
            said = f"{most_used:,} {self._name} used."
        else:
            limit, resets_at = binding.limit, binding.resets_at
            said = standing(
                *(self._name, f"{least:,}", f"{most_used:,}", binding.words, binding.within),
                binding.resets_in(numbers[1]),
                over=overage > 0 or most_used > binding.max,
            )
        reason = "overage" if overage else "unlimited" if self._unlimited else "included"
        if self._unpaid:
            balance = 0
        body = self._body % (
            *(reason, self._status[reason], _text(said), quantity),
            "null" if balance is None else balance,
            "null" if available is None or not self._enforce else available,
            *(most_used, limit, resets_at, included, overage),
            format_amount(cost) if cost else "0",
            *windows,
            "null" if decision_id is None else f'"{decision_id}"',
        )
        return Rendered(self._feature, self._plan, reason, body.encode())


def _text(text: str) -> str:
    return _json(text).decode()


def _fixed(text: str) -> str:
    """Text that stands in the template itself, where a percent sign must be doubled."""
    return _text(text).replace("%", "%%")
