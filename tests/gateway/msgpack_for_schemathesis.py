"""Teaches schemathesis msgpack, so that both wire formats are fuzzed; loaded by its SCHEMATHESIS_HOOKS."""

from typing import Any

import msgpack
import schemathesis

NEVER_VALID = b"\xc1"


@schemathesis.serializer("application/msgpack")
def write(ctx: Any, value: Any) -> bytes:
    """msgpack, or bytes that nobody can read for what msgpack cannot say (integers above 64 bits)."""
    try:
        packed: bytes = msgpack.packb(value)
    except (OverflowError, TypeError, ValueError):
        return NEVER_VALID
    return packed


@schemathesis.deserializer("application/msgpack")
def read(ctx: Any, response: Any) -> Any:
    """The answer, to be held against its schema."""
    return msgpack.unpackb(response.content)
