"""What a proxy asks about, as its profile reads it from the subrequest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Headers = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The request of the end user, of which the proxy asks whether it may pass."""

    method: str
    host: str
    path: str
    """As the client sent it, still percent-encoded; a query may follow."""
    attempt_id: bytes = b""
    """The same for every attempt of one proxy at one request, and chosen by the proxy; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one kind of proxy asks, and what status it can relay."""

    name: str
    read: Callable[[str, str, Headers], Original]
    """From the method and the rest of the path of the subrequest, and its headers."""
    headers: frozenset[bytes]
    """The headers `read` looks at, lower case; one that comes twice is refused before."""
    status: Callable[[int], int]
    """The status to answer with in place of the true one, which is always in X-Tallygate-Status."""
    problem_in_header: bool = False
    """Whether the proxy drops our body and rebuilds it from X-Tallygate-Problem."""
