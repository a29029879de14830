"""plain: for a proxy or a program that asks with the original method and path, after `/authz/plain`.

There is no shipped configuration that could guarantee an id the client cannot choose, so there is
no protection from a retry either: every question counts.
"""

from gateway.authz.profile import Headers, Original, Profile


def _read(method: str, path: str, headers: Headers) -> Original:
    host = headers.get(b"host", b"").decode("latin-1")
    return Original(method=method, host=host, path=path or "/")


def _status(true_status: int) -> int:
    return true_status


PLAIN = Profile(name="plain", read=_read, headers=frozenset({b"host"}), status=_status)
