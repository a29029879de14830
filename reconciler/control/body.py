"""Reads request bodies strictly: every fault of a body at once, exact numbers, no unknown field."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from difflib import get_close_matches
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from gateway.pricing.money import parse_decimal
from reconciler.control.errors import Fault, Invalid, Malformed

FAULTS_MAX = 100
"""Faults listed for one body; a body with more is told so many."""
DEPTH_MAX = 32
"""Objects and lists inside each other."""

INTEGER_MAX = 2**53 - 1

T = TypeVar("T")

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_PLACE = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_EXPONENT = re.compile(r"[eE]")


def read_json(raw: bytes) -> Any:
    """Plain data of a JSON text; numbers with a fraction are Decimals, never floats. Raises Malformed."""
    try:
        value = json.loads(
            raw.decode("utf-8"),
            parse_int=_integer,
            parse_float=_decimal,
            parse_constant=_no_constant,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8.") from None
    except RecursionError:
        raise Malformed(f"The body is nested deeper than {DEPTH_MAX} levels.") from None
    except json.JSONDecodeError as error:
        raise Malformed(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except ValueError as error:
        raise Malformed(f"The body is not JSON: {error}.") from None
    if faults := list(_text_faults(value, "", 0)):
        raise Malformed(faults[0].detail, errors=faults[:FAULTS_MAX])
    return value


def read_struct(value: Any, into: type[T]) -> T:
    """A struct of plain data. Raises Invalid with every fault found."""
    faults = list(_struct_faults(value, into, ""))[:FAULTS_MAX]
    if not faults:
        try:
            return msgspec.convert(value, into)
        except msgspec.ValidationError as error:
            faults = [_fault(error, "")]
    raise Invalid(
        faults[0].detail if len(faults) == 1 else f"{len(faults)} things are wrong with the body.",
        code=faults[0].code,
        errors=faults,
    )


def exact(value: Any, pointer: str) -> Decimal:
    """A number that came as decimal text or as a JSON number. Raises Invalid."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Invalid.at(pointer, "This must be a number, or one written as a string.")
    try:
        return parse_decimal(str(value))
    except ValueError as error:
        raise Invalid.at(pointer, str(error)) from None


def texts(value: Any) -> Any:
    """Plain data with every Decimal as its text, which is how the catalog reads numbers."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return {key: texts(each) for key, each in value.items()}
    return [texts(each) for each in value] if isinstance(value, list) else value


def unknown_name(kind: str, name: str, known: list[str], pointer: str) -> Fault:
    """The fault of a name that does not exist, with the one that was probably meant."""
    close = get_close_matches(name, known, 1, 0.6)
    hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"
    return Fault(
        pointer=pointer,
        code="unknown_field",
        detail=f"{name!r} is not a {kind}{hint}",
        suggestion=close[0] if close else "",
    )


def _decimal(text: str) -> Decimal:
    if _EXPONENT.search(text):
        raise ValueError(f"write the number {text[:40]} without an exponent")
    return Decimal(text)


def _integer(text: str) -> int:
    if len(text) > len(str(INTEGER_MAX)) + 1 or abs(int(text)) > INTEGER_MAX:
        raise ValueError(f"the number {text[:40]} is larger than 2^53 - 1; send it as a string")
    return int(text)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice[:40]!r} stands twice")
    return found


def _text_faults(value: Any, pointer: str, depth: int) -> Iterator[Fault]:
    if depth > DEPTH_MAX:
        detail = f"The body is nested deeper than {DEPTH_MAX} levels."
        yield Fault(pointer=pointer, code="malformed", detail=detail)
    elif isinstance(value, str):
        if _FORBIDDEN.search(value):
            detail = "Text must not hold control characters or half of a surrogate pair."
            yield Fault(pointer=_plain(pointer), code="control_character", detail=detail)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _text_faults(name, pointer, depth + 1)
            yield from _text_faults(each, f"{pointer}/{_escape(name)}", depth + 1)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _text_faults(each, f"{pointer}/{place}", depth + 1)


def _struct_faults(value: Any, struct: Any, pointer: str) -> Iterator[Fault]:
    if not isinstance(value, dict):
        detail = "This must be an object."
        yield Fault(pointer=pointer, code="wrong_type", detail=detail)
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for name in value:
        if name not in fields:
            yield unknown_name("field", name, list(fields), f"{pointer}/{_escape(name)}")
    for name, field in fields.items():
        if name not in value:
            if field.required:
                detail = f"The field {name!r} is missing."
                yield Fault(pointer=f"{pointer}/{name}", code="missing_field", detail=detail)
            continue
        yield from _field_faults(value[name], field.type, f"{pointer}/{name}")


def _field_faults(value: Any, wanted: Any, pointer: str) -> Iterator[Fault]:
    if value is not None and (struct := _struct_in(wanted)) is not None:
        if get_origin(wanted) is list:
            if isinstance(value, list):
                for place, each in enumerate(value):
                    yield from _struct_faults(each, struct, f"{pointer}/{place}")
                return
        else:
            yield from _struct_faults(value, struct, pointer)
            return
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        yield _fault(error, pointer)


def _struct_in(wanted: Any) -> Any:
    """The struct that a field holds, alone, or None, or in a list; None for anything else."""
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return wanted
    if get_origin(wanted) in (Union, UnionType, list):
        found = [_struct_in(each) for each in get_args(wanted)]
        return next((each for each in found if each is not None), None)
    return None


def _fault(error: msgspec.ValidationError, pointer: str) -> Fault:
    message = str(error)
    if found := _PLACE.search(message):
        message = message[: found.start()]
        pointer += found.group(1).replace(".", "/").replace("[", "/").replace("]", "")
    return Fault(pointer=pointer, code="wrong_type", detail=message.replace("`", "'"))


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _plain(pointer: str) -> str:
    """A pointer that can itself be sent: what may not stand in text is left out."""
    return _FORBIDDEN.sub("\ufffd", pointer)
