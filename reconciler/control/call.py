"""One request and its answer, as the endpoints see them: plain data, no HTTP machinery."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import unquote_to_bytes

from psycopg import Connection
from psycopg_pool import ConnectionPool
from redis import Redis

from gateway.pricing.catalog import CatalogProblem
from reconciler.clock import Clock, parse_rfc3339
from reconciler.control.auth import Caller
from reconciler.control.body import read_json, read_struct, unknown_name
from reconciler.control.errors import Fault, Invalid, Malformed, UnsupportedMedia
from reconciler.settings import Settings

POOL_WAIT_S = 5
"""How long an endpoint waits for a connection to Postgres before it answers 503."""
LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000
CUSTOMER_LENGTH_MAX = 255

T = TypeVar("T")

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no id, cursor or word in a query holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the endpoints work with."""

    settings: Settings
    pool: ConnectionPool[Any]
    redis: "Redis"
    clock: Clock

    @contextmanager
    def postgres(self) -> Iterator[Connection[Any]]:
        """A connection on which only `transaction()` opens transactions, so that each one shows."""
        with self.pool.connection(timeout=POOL_WAIT_S) as connection:
            usual = connection.autocommit
            connection.autocommit = True
            try:
                yield connection
            finally:
                if not connection.closed:
                    connection.autocommit = usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, authenticated and allowed to be here."""

    method: str
    path: Mapping[str, str]
    """Path parameters, still percent-encoded."""
    query: Sequence[tuple[str, str]]
    content_type: str
    body: bytes
    caller: Caller
    request_id: str

    def part(self, name: str) -> str:
        """A path parameter, decoded. Raises Malformed for bytes that are no text an id could be."""
        try:
            text = unquote_to_bytes(self.path[name]).decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed(f"The {name} in the path is not percent-encoded UTF-8.") from None
        if CONTROL.search(text):
            raise Malformed(f"The {name} in the path holds control characters.")
        return text

    @property
    def customer(self) -> str:
        """The customer in the path. Raises Invalid for an id that no customer can have."""
        return customer_id(self.part("customer"), "/customer")

    def queries(self, *names: str) -> dict[str, str]:
        """The query parameters by name. Raises Invalid for one that is unknown or stands twice."""
        found: dict[str, str] = {}
        faults = []
        for name, value in self.query:
            if name not in names:
                faults.append(unknown_name("query parameter", name, list(names), f"?{name}"))
            elif name in found:
                raise Invalid.at(f"?{name}", f"The query parameter {name!r} stands twice.")
            elif CONTROL.search(value):
                raise Invalid.at(f"?{name}", f"The value of {name!r} holds control characters.")
            found[name] = value
        if faults:
            raise Invalid(faults[0].detail, code="unknown_field", errors=faults)
        return found

    def struct(self, into: type[T]) -> T:
        """The JSON body as a struct; an absent body is an empty object. Raises Malformed, Invalid."""
        if not self.body.strip():
            return read_struct({}, into)
        if self.content_type not in ("application/json", ""):
            raise UnsupportedMedia(f"Send application/json here, not {self.content_type}.")
        return read_struct(read_json(self.body), into)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to answer: a body that is encoded as JSON, or bytes of a stated media type."""

    body: Any = None
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Endpoint = Callable[[Parts, Call], Answer]
Scope = Literal["admin", "read", "public"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path; the list of them is what is routed and what the OpenAPI document says."""

    method: Literal["GET", "PUT", "POST", "DELETE"]
    path: str
    endpoint: Endpoint
    summary: str
    scope: Scope
    body: Any = None
    """The struct of the request body; None: there is none."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Query parameter → what it says."""
    statuses: tuple[int, ...] = (200,)


def customer_id(text: str, pointer: str) -> str:
    """A customer id: 1 to 255 characters without control characters. Raises Invalid."""
    if not 1 <= len(text) <= CUSTOMER_LENGTH_MAX or CONTROL.search(text):
        raise Invalid.at(
            pointer, "A customer id has 1 to 255 characters and no control characters."
        )
    return text


def limit_of(queries: Mapping[str, str]) -> int:
    """How many rows a list shall have. Raises Invalid."""
    text = queries.get("limit", str(LIMIT_DEFAULT))
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= LIMIT_MAX:
        raise Invalid.at("?limit", f"limit is a number from 1 to {LIMIT_MAX}.")
    return int(text)


def instant_of(queries: Mapping[str, str], name: str, default: int) -> int:
    """A time in the query, in milliseconds. Raises Invalid."""
    return time_of(queries[name], f"?{name}") if name in queries else default


def time_of(text: str, pointer: str) -> int:
    """An RFC 3339 time in milliseconds. Raises Invalid."""
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise Invalid.at(pointer, f"{error}.") from None


def fault_of(problem: CatalogProblem) -> Fault:
    """A problem that pricing found in data that came in a body."""
    return Fault(
        pointer="".join(f"/{part}" for part in problem.path),
        code=problem.code,
        detail=problem.message,
        suggestion=problem.suggestion or "",
    )


def choice_of(queries: Mapping[str, str], name: str, choices: Sequence[str], default: str) -> str:
    """One of several words in the query. Raises Invalid."""
    word = queries.get(name, default)
    if word not in choices:
        raise Invalid.at(f"?{name}", f"{name} is one of {', '.join(c for c in choices if c)}.")
    return word
