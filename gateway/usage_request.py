"""What is asked of the enforcer, however it came: over HTTP, from a proxy, in a batch."""

from collections.abc import Mapping, Sequence
from typing import Literal, Union

import msgspec

from gateway.codec import Item, Number

Verb = Literal["consume", "check", "track"]


class UsageRequest(msgspec.Struct, kw_only=True, gc=False):
    """One request to decide; quantities as on the wire, in the feature's own unit. Either `feature` or `items` is given."""

    customer: str
    feature: str = ""
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
    source: str = ""
    """The id of the API key that asked; the ledger keeps it."""

    def asked(self) -> Sequence[Union[Item, "UsageRequest"]]:
        """Every item of the request; a request over one feature is its own item."""
        return (self,) if self.items is None else self.items
