"""Lists, a page at a time: `{"data": […], "next": cursor or null}`."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any

from reconciler.clock import INSTANT_MS_MAX
from reconciler.control.call import CONTROL, Answer
from reconciler.control.errors import Invalid


def answer_page(
    rows: Sequence[Any], limit: int, cursor_of: Callable[[Any], str], shown: Any = None
) -> Answer:
    """The first `limit` rows; one more than that says that there is a next page.

    `shown`, where given, is what to answer for a row.
    """
    page = rows[:limit]
    following = cursor_of(page[-1]) if len(rows) > limit else None
    return Answer(body={"data": [shown(row) if shown else row for row in page], "next": following})


def cursor(*values: str | int) -> str:
    """Where a page ended, as text that nobody needs to read."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def read_cursor(text: str, *kinds: type) -> list[Any]:
    """The values of a cursor. Raises Invalid for one that no list gave."""
    try:
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        fits = isinstance(values, list) and [type(each) for each in values] == list(kinds)
    except (ValueError, binascii.Error, RecursionError):
        fits = False
    if not fits or not all(_can_be_there(each) for each in values):
        raise Invalid.at("?after", "after is a cursor that an earlier answer called next.")
    return list(values)


def _can_be_there(value: str | int) -> bool:
    """Whether a list could have ended at it: an instant, or text that Postgres can hold."""
    if isinstance(value, int):
        return 0 <= value < INSTANT_MS_MAX
    return not CONTROL.search(value)
