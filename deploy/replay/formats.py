"""Reads recorded traffic: a web server's combined log, or CSV with a mapping of its columns.

Each reader yields rows of text fields; `Mapping` says which field is the time, the customer and the quantity.
Numbers stay text until they are exact decimals, so nothing is rounded on the way in.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Context, Decimal, InvalidOperation
from pathlib import Path
from typing import Literal, TextIO

Format = Literal["combined", "csv"]
TimeFormat = Literal["iso", "unix", "unix-ms"]

ROWS_MAX = 5_000_000
"""A replay sorts its rows in memory; a longer recording is replayed in parts."""

COMBINED_COLUMNS = (
    "address", "identity", "user", "time", "request", "method", "path", "status", "bytes", "referrer", "agent",
)  # fmt: skip
"""What a combined log offers to a mapping; `bytes` is 0 where the log has a dash."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT = Context(prec=60)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
        start=1,
    )
}

# A server may cut a long line short, so everything behind the size is optional and need not be closed.
_COMBINED = re.compile(
    r"(?P<address>\S+) (?P<identity>\S+) (?P<user>.+?) \[(?P<time>[^\]]+)\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<bytes>\d+|-)'
    r'(?: "(?P<referrer>(?:[^"\\]|\\.)*)"?(?: "(?P<agent>(?:[^"\\]|\\.)*)"?)?)?'
)
_COMBINED_TIME = re.compile(
    r"(\d{2})/([A-Z][a-z]{2})/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})"
)
_ISO_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:[.,](\d+))?\s*(Z|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+(\.\d+)?")


class UnreadableRow(ValueError):
    """A row of the recording does not say what the mapping asks of it."""

    def __init__(self, line: int, detail: str) -> None:
        super().__init__(f"line {line}: {detail}")
        self.line = line
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One request of the recording."""

    number: int
    """Counted from 1 over the rows of the file, headings not counted."""
    at_ms: int
    """Recorded time, milliseconds since 1970 UTC, finer digits cut off."""
    customer: str
    quantity: str
    """A plain decimal: the feature's quantity in its unit, never negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Where a row keeps its time, customer and quantity.

    `quantity` is one column or a sum of columns (`ContextTokens+GeneratedTokens`); empty means 1 for every row.
    Exactly one of `customer_column` and `customers` is given; `customers` = N deals rows out in turn:
    row n belongs to `<prefix><((n − 1) mod N) + 1>`.
    """

    time_column: str
    time_format: TimeFormat = "iso"
    zone: tzinfo = UTC
    customer_column: str | None = None
    customers: int | None = None
    prefix: str = "replay-"
    quantity: str = ""

    def __post_init__(self) -> None:
        if (self.customer_column is None) == (self.customers is None):
            raise ValueError("name a customer column or a number of customers, and not both")
        if self.customers is not None and not 1 <= self.customers <= 1_000_000:
            raise ValueError("the number of customers must be between 1 and 1,000,000")

    @property
    def quantity_columns(self) -> tuple[str, ...]:
        """The columns that are added up; none means 1."""
        return tuple(column.strip() for column in self.quantity.split("+") if column.strip())

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column the mapping reads."""
        customer = () if self.customer_column is None else (self.customer_column,)
        return (self.time_column, *customer, *self.quantity_columns)

    def customer_rule(self) -> str:
        """The rule in words, as a report states it."""
        if self.customers is None:
            return f"one customer per {self.customer_column}"
        return (
            f"{self.customers} customers in turn by row number: "
            f"row n is {self.prefix}(((n - 1) mod {self.customers}) + 1)"
        )

    def row(self, number: int, line: int, fields: dict[str, str]) -> Row:
        """The row that these fields mean; raises UnreadableRow naming the line and the column."""
        return Row(
            number=number,
            at_ms=self._time(line, fields),
            customer=self._customer(number, line, fields),
            quantity=self._quantity(line, fields),
        )

    def _time(self, line: int, fields: dict[str, str]) -> int:
        text = fields[self.time_column]
        try:
            return parse_time(text, self.time_format, self.zone)
        except ValueError as problem:
            raise UnreadableRow(line, f"{self.time_column}: {problem}") from None

    def _customer(self, number: int, line: int, fields: dict[str, str]) -> str:
        if self.customers is not None:
            return f"{self.prefix}{(number - 1) % self.customers + 1}"
        assert self.customer_column is not None, "checked when the mapping was made"
        customer = fields[self.customer_column]
        if not 1 <= len(customer) <= 255 or not customer.isprintable():
            raise UnreadableRow(line, f"{self.customer_column} is no customer id: {customer!r}")
        return customer

    def _quantity(self, line: int, fields: dict[str, str]) -> str:
        total = Decimal(0 if self.quantity_columns else 1)
        for column in self.quantity_columns:
            text = fields[column].strip()
            if not _NUMBER.fullmatch(text):
                raise UnreadableRow(line, f"{column} is not a plain number: {text!r}")
            try:
                total = _EXACT.add(total, Decimal(text))
            except InvalidOperation:
                raise UnreadableRow(line, f"{column} has too many digits") from None
        return format(total, "f")


def parse_time(text: str, how: TimeFormat, zone: tzinfo) -> int:
    """Milliseconds since 1970 of a recorded time; a time without an offset is in `zone`.

    Raises ValueError that shows the text and what was expected.
    """
    text = text.strip()
    if how != "iso":
        if not _NUMBER.fullmatch(text):
            raise ValueError(
                f"{text!r} is not a number of {'s' if how == 'unix' else 'ms'} since 1970"
            )
        return int(Decimal(text) * (1000 if how == "unix" else 1))
    if match := _COMBINED_TIME.fullmatch(text):
        return _combined_time(match)
    if not (match := _ISO_TIME.fullmatch(text)):
        raise ValueError(
            f"{text!r} is not a time such as 2026-11-22 10:05:03.25 or with Z or +01:00"
        )
    day, clock, fraction, offset = match.groups()
    moment = datetime.fromisoformat(f"{day}T{clock}{(offset or '').upper()}")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return _since_1970_ms(moment) + int(f"{fraction or ''}000"[:3])


def _combined_time(match: re.Match[str]) -> int:
    day, month, year, hour, minute, second, sign, hours, minutes = match.groups()
    if month not in _MONTHS:
        raise ValueError(f"{month!r} is not a month")
    offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    zone = timezone(offset)
    clock = (int(hour), int(minute), int(second))
    return _since_1970_ms(datetime(int(year), _MONTHS[month], int(day), *clock, tzinfo=zone))


def _since_1970_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The rows of one file in order of time; rows of the same millisecond stay in the order of the file."""

    rows: list[Row]
    unreadable: list[UnreadableRow]
    out_of_order: int
    """How many rows stood behind one with a later time; the test clock only goes forward, so they were sorted."""


def read_recording(path: Path, how: Format, mapping: Mapping) -> Recording:
    """Reads and sorts a whole file. Raises ValueError when a column is missing or the file is too long."""
    rows: list[Row] = []
    unreadable: list[UnreadableRow] = []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for number, (line, fields) in enumerate(_fields(file, how, mapping), start=1):
            if number > ROWS_MAX:
                raise ValueError(f"more than {ROWS_MAX:,} rows: replay the file in parts")
            try:
                if isinstance(fields, str):
                    raise UnreadableRow(line, fields)
                rows.append(mapping.row(number, line, fields))
            except UnreadableRow as problem:
                unreadable.append(problem)
    behind = _count_behind(rows)
    rows.sort(key=lambda row: row.at_ms)
    return Recording(rows=rows, unreadable=unreadable, out_of_order=behind)


def _count_behind(rows: Iterable[Row]) -> int:
    latest_ms, behind = -(2**63), 0
    for row in rows:
        behind += row.at_ms < latest_ms
        latest_ms = max(latest_ms, row.at_ms)
    return behind


def _fields(
    file: TextIO, how: Format, mapping: Mapping
) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Line number and fields of each row; a text instead of fields says why the row cannot be read."""
    return _combined_fields(file, mapping) if how == "combined" else _csv_fields(file, mapping)


def _combined_fields(file: TextIO, mapping: Mapping) -> Iterator[tuple[int, dict[str, str] | str]]:
    _require_columns(mapping, COMBINED_COLUMNS)
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        match = _COMBINED.match(text)
        if match is None:
            yield line, f"not a line of a combined log: {text.strip()[:80]!r}"
            continue
        fields = {name: value or "" for name, value in match.groupdict().items()}
        method, _, target = fields["request"].partition(" ")
        fields |= {"method": method, "path": target.partition(" ")[0]}
        fields["bytes"] = fields["bytes"].replace("-", "0")
        yield line, fields


def _csv_fields(file: TextIO, mapping: Mapping) -> Iterator[tuple[int, dict[str, str] | str]]:
    reader = csv.DictReader(file)
    headings = [heading.strip().removeprefix("\ufeff") for heading in reader.fieldnames or ()]
    reader.fieldnames = headings
    _require_columns(mapping, headings)
    for record in reader:
        if any(record.get(column) is None for column in mapping.columns):
            yield reader.line_num, f"{len(headings)} columns expected"
            continue
        yield reader.line_num, {name: record[name] for name in mapping.columns}


def _require_columns(mapping: Mapping, present: Iterable[str]) -> None:
    known = list(present)
    for column in mapping.columns:
        if column not in known:
            raise ValueError(f"there is no column {column!r}; there are {', '.join(known)}")
