"""nginx: for `auth_request`, whose subrequest is always a GET and which understands 2xx, 401 and 403.

Anything else becomes 500 there. So a denial is 403, with the true status beside it, and an outage
stays 503: the shipped configuration makes 503 of nginx's 500 again, and never takes it for a quota.
"""

from gateway.authz.profile import Headers, Original, Profile
from gateway.errors import Malformed

_METHOD, _URI = b"x-original-method", b"x-original-uri"
_ATTEMPT = b"x-tallygate-request"


def _read(method: str, path: str, headers: Headers) -> Original:
    if path not in ("", "/"):
        raise Malformed("nginx asks at /authz/nginx; the original path comes in X-Original-URI.")
    if not headers.get(_METHOD) or not headers.get(_URI):
        raise Malformed(
            "X-Original-Method and X-Original-URI are missing; deploy/proxies/nginx.conf sets them."
        )
    return Original(
        method=headers[_METHOD].decode("latin-1"),
        host=headers.get(b"host", b"").decode("latin-1"),
        path=headers[_URI].decode("latin-1"),
        attempt_id=headers.get(_ATTEMPT, b""),
    )


def _status(true_status: int) -> int:
    if true_status == 401 or not 400 <= true_status < 500:
        return true_status
    return 403


NGINX = Profile(
    name="nginx",
    read=_read,
    headers=frozenset({b"host", _METHOD, _URI, _ATTEMPT}),
    status=_status,
    problem_in_header=True,
)
