"""Which feature a request to someone's API uses, and how much of it: the catalog's routes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote

MATCH_LENGTH_MAX = 512
"""The longest `match` text, in characters."""

PATHS_CACHED_MAX = 10_000
"""How many normalised paths are kept; the least recently used one goes first."""

_METHOD = re.compile(r"[A-Z]{1,32}")
_HOST = re.compile(r"(\*|[a-z0-9_-]{1,63})(\.(\*|[a-z0-9_-]{1,63}))*(:[0-9]{1,5})?")
_SEGMENT = re.compile(r"[^\s/?#*\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """The text of a `match`, taken apart: `METHOD host/path`, method and host optional.

    `*` stands for one segment; at the end of the path, for everything below. `*` alone is every request.
    """

    method: str | None
    host: re.Pattern[str] | None
    path: re.Pattern[str] | None

    def matches(self, method: str, host: str, path: str) -> bool:
        """Whether a request is meant: upper-case method, lower-case host, normalised path."""
        return (
            (self.method is None or self.method == method)
            and (self.path is None or self.path.fullmatch(path) is not None)
            and (self.host is None or self.host.fullmatch(host) is not None)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What requests that match cost: nothing, a fixed quantity, or a hold that is captured later."""

    match: str
    feature: str | None = None
    """None only on a free route."""
    cost: int | None = None
    """Base units of the feature; None on free routes, on those with a hold and for boolean features."""
    free: bool = False
    hold: int | None = None
    """Base units held until the response tells what was used."""
    capture: Mapping[str, object] | None = field(default=None, hash=False)
    """Where the response tells it: `variant` and `usage`, or `quantity`, as paths into its body."""
    pattern: Pattern = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pattern", parse_match(self.match))


def match_route(routes: Sequence[Route], method: str, host: str, path: str) -> Route:
    """The first route that matches; `path` is as the client sent it, with or without a query.

    Raises LookupError when none does, which cannot be with routes that end in `*`.
    """
    method, host, path = method.upper(), host.lower(), normal_path(path)
    for route in routes:
        if route.pattern.matches(method, host, path):
            return route
    raise LookupError(f"no route matches {method} {host}{path}")


@lru_cache(maxsize=PATHS_CACHED_MAX)
def normal_path(path: str) -> str:
    """The path every spelling of it shares: no query, percent-decoded, no `.`, `..`, `//` or closing `/`.

    Another spelling of a path must not be a way around its price, so this is done before matching.
    """
    raw = re.split(r"[?#]", path, maxsplit=1)[0]
    segments: list[str] = []
    for segment in unquote(raw, errors="replace").split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    return "/" + "/".join(segments)


@lru_cache(maxsize=4096)
def parse_match(text: str) -> Pattern:
    """Take the text of a `match` apart. Raises ValueError saying what is wrong with it."""
    if len(text) > MATCH_LENGTH_MAX:
        raise ValueError(f"is longer than {MATCH_LENGTH_MAX} characters")
    words = text.split()
    if not 1 <= len(words) <= 2:
        raise ValueError('must read "METHOD host/path"; method and host may be left out')
    method = None
    if len(words) == 2:
        method = None if words[0] == "*" else words[0]
        if method is not None and not _METHOD.fullmatch(method):
            raise ValueError(f"has the method {method!r}, which is not in capital letters")
    elif _METHOD.fullmatch(words[0]):
        raise ValueError(f"has no path; for every path write {words[0] + ' *'!r}")
    host, slash, path = words[-1].partition("/")
    if words[-1] == "*":
        return Pattern(method=method, host=None, path=None)
    return Pattern(
        method=method,
        host=_host_pattern(host) if host else None,
        path=_path_pattern(path) if slash else None,
    )


def _host_pattern(host: str) -> re.Pattern[str]:
    host = host.lower()
    if not _HOST.fullmatch(host):
        raise ValueError(f"has the host {host!r}; a path begins with /")
    labels = re.escape(host).replace(r"\*", r"[^.:]+")
    # A pattern that names no port means every port.
    return re.compile(labels if ":" in host else labels + r"(:[0-9]+)?")


def _path_pattern(path: str) -> re.Pattern[str]:
    """`path` without its first slash."""
    segments = path.removesuffix("/").split("/") if path not in ("", "/") else []
    parts = []
    for place, segment in enumerate(segments):
        if segment == "*":
            parts.append("/.+" if place == len(segments) - 1 else "/[^/]+")
        elif segment in (".", "..") or not _SEGMENT.fullmatch(segment):
            raise ValueError(
                f"has the path segment {segment!r}; a segment is text without ?, # and *, or * alone"
            )
        else:
            parts.append("/" + re.escape(unquote(segment)))
    if not parts:
        return re.compile("/")
    everything_at_root = parts == ["/.+"]
    return re.compile("/.*" if everything_at_root else "".join(parts), re.DOTALL)
