"""What is asked of the enforcer, however it came: over HTTP, from a proxy, in a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.codec import Item, Number

Verb = Literal["consume", "check", "track"]


@dataclass(slots=True, kw_only=True)
class UsageRequest:
    """One request to decide; quantities as on the wire, in the feature's own unit. Either `feature` or `items` is given."""

    customer: str
    feature: str | None = None
    quantity: Number = None
    variant: str | None = None
    usage: Mapping[str, Number] | None = None
    items: Sequence[Item] | None = None
    idempotency_key: str | None = None
    metadata: dict[str, str] | None = None
    route: str | None = None
    replay: tuple[bytes, int] | None = None
    """A key and its retention in milliseconds, for a proxy's own retries; instead of an idempotency key."""
    request_id: str = ""

    def asked(self) -> Sequence[Item]:
        """Every item of the request, a single feature as one."""
        if self.items is not None:
            return self.items
        assert self.feature is not None, "whoever made the request has checked it"
        usage = None if self.usage is None else dict(self.usage)
        return (
            Item(feature=self.feature, quantity=self.quantity, variant=self.variant, usage=usage),
        )
