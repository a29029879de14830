"""The name of one request: made here, never taken from the client, on every answer and log entry."""

import secrets
from collections.abc import MutableMapping
from itertools import count
from typing import Any

SCOPE_KEY = "tallygate.request_id"

_process = secrets.token_urlsafe(8)
_numbers = count(1)


def new() -> str:
    """An id no other process makes: 64 random bits for the process, then a number. ASCII."""
    return f"{_process}.{next(_numbers):x}"


def of(scope: MutableMapping[str, Any]) -> str:
    """The id of the request in hand; the first to ask names it."""
    found: str | None = scope.get(SCOPE_KEY)
    if found is None:
        found = scope[SCOPE_KEY] = new()
    return found
