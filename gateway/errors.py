"""What the gateway refuses with: one tree of exceptions, each an RFC 9457 problem.

    GatewayError
    ├── Malformed           400  the bytes are not what they claim to be
    ├── Unauthenticated     401  no key, or one nobody knows
    ├── Forbidden           403  the key may not do this
    ├── NotFound            404
    ├── MethodNotAllowed    405
    ├── Conflict            409
    ├── TooLarge            413
    ├── UnsupportedMedia    415
    ├── Invalid             422  well-formed, but not a request we can mean
    ├── Unexpected          500  a bug of ours
    ├── NotSupportedYet     501
    └── Unavailable         503
        ├── Outage               Redis could not answer: denies, and is never taken for a quota
        └── Overloaded           refused early, counted nothing

A denial is not here: it is data, a decision.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, ClassVar

import msgspec

URN = "urn:tallygate:"
"""Prefix of every problem type that is our own; the code follows."""

Headers = Sequence[tuple[bytes, bytes]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a request, and where (a JSON pointer into the body)."""

    pointer: str
    code: str
    detail: str


class GatewayError(Exception):
    """The gateway cannot answer this request."""

    status: ClassVar[int] = 500
    code: str = "unexpected"
    headers: Headers = ()
    members: ClassVar[dict[str, Any]] = {}
    """Members the problem body carries beside those every problem has."""

    def __init__(
        self,
        detail: str = "",
        *,
        code: str = "",
        errors: Sequence[Fault] = (),
        headers: Headers = (),
    ) -> None:
        """`detail` defaults to the class's own sentence; `headers` are added to the class's."""
        self.detail = detail or self.title
        self.errors = tuple(errors)
        if code:
            self.code = code
        if headers:
            self.headers = (*type(self).headers, *headers)
        super().__init__(self.detail)

    @property
    def title(self) -> str:
        """The class's own sentence: the same for every occurrence, as RFC 9457 wants a title."""
        return (type(self).__doc__ or "").partition("\n")[0]


class Malformed(GatewayError):
    """The request could not be read."""

    status, code = 400, "malformed"


class Unauthenticated(GatewayError):
    """A valid API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY."""

    status, code = 401, "unauthenticated"
    headers = ((b"www-authenticate", b'Bearer realm="tallygate"'),)


class Forbidden(GatewayError):
    """This API key may not do that."""

    status, code = 403, "forbidden"


class NotFound(GatewayError):
    """There is nothing here."""

    status, code = 404, "not_found"


class MethodNotAllowed(GatewayError):
    """This path does not answer to that method."""

    status, code = 405, "method_not_allowed"


class Conflict(GatewayError):
    """The request contradicts what has already happened."""

    status, code = 409, "conflict"


class TooLarge(GatewayError):
    """The request body is larger than this gateway reads."""

    status, code = 413, "too_large"


class UnsupportedMedia(GatewayError):
    """The body must be application/json or application/msgpack."""

    status, code = 415, "unsupported_media"


class Invalid(GatewayError):
    """The request is well-formed but cannot be carried out as it stands."""

    status, code = 422, "invalid_value"


class Unexpected(GatewayError):
    """Something went wrong inside the gateway."""

    status, code = 500, "unexpected"


class NotSupportedYet(GatewayError):
    """This release does not do that yet."""

    status, code = 501, "not_supported_yet"


class Unavailable(GatewayError):
    """The gateway cannot answer just now."""

    status, code = 503, "unavailable"
    headers = ((b"retry-after", b"1"),)


class Outage(Unavailable):
    """The decision could not be made because Redis did not answer; nothing is known to be counted."""

    code = "outage"
    members: ClassVar[dict[str, Any]] = {"allowed": False, "reason": "outage"}


class Overloaded(Unavailable):
    """The gateway has more to do than it can; this request counted nothing."""

    code = "overloaded"


_encode = msgspec.json.Encoder().encode


def problem(error: GatewayError, request_id: str) -> bytes:
    """The body of `application/problem+json` for an error."""
    return _encode(problem_members(error, request_id))


def problem_members(error: GatewayError, request_id: str) -> dict[str, Any]:
    """The members of the problem, for an answer that holds several (a batch)."""
    return {
        "type": URN + error.code,
        "code": error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "requestId": request_id,
        "errors": error.errors,
        **error.members,
    }


async def send_problem(
    send: Send, error: GatewayError, request_id: str, *, headers: Headers = ()
) -> None:
    """Answer one request with a problem, as plain ASGI."""
    body = problem(error, request_id)
    await send(
        {
            "type": "http.response.start",
            "status": error.status,
            "headers": [
                (b"content-type", b"application/problem+json"),
                (b"content-length", b"%d" % len(body)),
                (b"x-tallygate-request-id", request_id.encode()),
                *error.headers,
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
