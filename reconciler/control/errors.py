"""What the control plane answers when it cannot do what was asked: RFC 9457 problems.

ControlError
├── Malformed 400      ├── Unauthenticated 401   ├── Forbidden 403     ├── NotFound 404
├── MethodNotAllowed 405   ├── Conflict 409      ├── TooLarge 413      ├── UnsupportedMedia 415
├── Invalid 422        │   └── NotSupportedYet
└── Unavailable 503
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

URN = "urn:tallygate:"


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong with a request, and where: a JSON pointer, or a place in a catalog file."""

    pointer: str
    code: str
    detail: str
    line: int = 0
    column: int = 0
    suggestion: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of every answer from 400 on."""

    type: str
    code: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: tuple[Fault, ...] = ()


class ControlError(Exception):
    """The control plane cannot answer this request."""

    status: ClassVar[int] = 500
    code: str = "unexpected"
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, detail: str = "", *, code: str = "", errors: Sequence[Fault] = ()) -> None:
        """`detail` defaults to the class's own sentence."""
        self.detail = detail or self.title
        self.errors = tuple(errors)
        if code:
            self.code = code
        super().__init__(self.detail)

    @property
    def title(self) -> str:
        """The class's own sentence: the same for every occurrence."""
        return (type(self).__doc__ or "").partition("\n")[0]

    def to_problem(self, request_id: str) -> Problem:
        """The body to answer with."""
        return Problem(
            type=URN + self.code,
            code=self.code,
            title=self.title,
            status=self.status,
            detail=self.detail,
            request_id=request_id,
            errors=self.errors,
        )


class Malformed(ControlError):
    """The request could not be read."""

    status, code = 400, "malformed"


class Unauthenticated(ControlError):
    """A valid API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY."""

    status, code = 401, "unauthenticated"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="tallygate"'}


class Forbidden(ControlError):
    """This API key may not do that."""

    status, code = 403, "forbidden"


class NotFound(ControlError):
    """There is nothing here."""

    status, code = 404, "not_found"


class MethodNotAllowed(ControlError):
    """This path does not answer to that method."""

    status, code = 405, "method_not_allowed"


class Conflict(ControlError):
    """The request contradicts what has already happened."""

    status, code = 409, "conflict"


class TooLarge(ControlError):
    """The request body is larger than the control plane reads."""

    status, code = 413, "too_large"


class UnsupportedMedia(ControlError):
    """The body's Content-Type is not one that is read here."""

    status, code = 415, "unsupported_media"


class Invalid(ControlError):
    """The request is well-formed but cannot be carried out as it stands."""

    status, code = 422, "invalid_value"

    @classmethod
    def at(cls, pointer: str, detail: str, code: str = "invalid_value") -> "Invalid":
        """One fault at one place of the body."""
        return cls(detail, code=code, errors=[Fault(pointer=pointer, code=code, detail=detail)])


class NotSupportedYet(Invalid):
    """This release does not do that yet."""

    code = "not_supported_yet"


class Unavailable(ControlError):
    """The control plane cannot answer just now."""

    status, code = 503, "unavailable"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class Unexpected(ControlError):
    """Something went wrong inside the control plane."""
