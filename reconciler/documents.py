"""Entitlements by version, as Postgres keeps every one that was ever in force."""

from collections import OrderedDict
from typing import Any

import msgpack
from psycopg import Connection

from gateway.pricing.entitlement import Entitlement
from reconciler.sql import queries

DOCUMENTS_MAX = 5_000
"""Documents kept in memory."""


class EntitlementDocuments:
    """Reads entitlement documents, each once while it is in use."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        self._kept: OrderedDict[tuple[str, int], Entitlement | None] = OrderedDict()

    def __call__(self, customer: str, version: int) -> Entitlement | None:
        """The entitlement of that version; None when there is no such document."""
        key = (customer, version)
        if key not in self._kept:
            self._kept[key] = self._read(customer, version)
        self._kept.move_to_end(key)
        if len(self._kept) > DOCUMENTS_MAX:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _read(self, customer: str, version: int) -> Entitlement | None:
        found = self._connection.execute(
            queries["entitlement_document"], {"customer": customer, "version": version}
        ).fetchone()
        if found is None or found[0] is None:
            return None
        return Entitlement.from_plain(msgpack.unpackb(found[0]))
