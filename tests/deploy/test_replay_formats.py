"""What a recording says is what its rows say: exact times, exact quantities, a stated customer."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from deploy.replay.formats import Mapping, Recording, parse_time, read_recording

ACCESS = Mapping(time_column="time", customer_column="address")
LINE = '83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a%20b HTTP/1.1" 200 203023 "http://x/" "Moz"'


def combined(tmp_path: Path, *lines: str, mapping: Mapping = ACCESS) -> Recording:
    path = tmp_path / "access.log"
    path.write_text("\n".join(lines) + "\n")
    return read_recording(path, "combined", mapping)


def table(tmp_path: Path, text: str, mapping: Mapping) -> Recording:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    return read_recording(path, "csv", mapping)


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1000  # type: ignore[arg-type, misc]


def test_a_combined_line_gives_its_address_time_and_one_request(tmp_path: Path) -> None:
    (row,) = combined(tmp_path, LINE).rows
    assert (row.customer, row.at_ms, row.quantity, row.number) == (
        "83.149.9.216", ms(2015, 5, 17, 10, 5, 3), "1", 1,
    )  # fmt: skip


def test_a_combined_time_with_an_offset_is_that_instant(tmp_path: Path) -> None:
    (row,) = combined(tmp_path, LINE.replace("+0000", "+0530")).rows
    assert row.at_ms == ms(2015, 5, 17, 4, 35, 3)


def test_a_line_cut_short_behind_its_size_is_still_read(tmp_path: Path) -> None:
    assert len(combined(tmp_path, LINE[:-12]).rows) == 1


def test_a_combined_log_can_be_billed_by_bytes_and_a_dash_is_none(tmp_path: Path) -> None:
    by_bytes = Mapping(time_column="time", customer_column="address", quantity="bytes")
    rows = combined(tmp_path, LINE, LINE.replace("203023", "-"), mapping=by_bytes).rows
    assert [row.quantity for row in rows] == ["203023", "0"]


def test_a_quote_inside_the_request_does_not_end_it(tmp_path: Path) -> None:
    assert combined(tmp_path, LINE.replace("/a%20b", '/\\"x')).unreadable == []


def test_an_unreadable_line_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    recording = combined(tmp_path, LINE, "nonsense", LINE)
    assert len(recording.rows) == 2
    assert str(recording.unreadable[0]).startswith("line 2: not a line of a combined log")


def test_rows_are_sorted_by_time_and_keep_their_order_within_one(tmp_path: Path) -> None:
    early, late = LINE.replace("10:05:03", "10:05:01"), LINE
    recording = combined(tmp_path, late, early, late)
    assert [row.number for row in recording.rows] == [2, 1, 3]
    assert recording.out_of_order == 1


def test_a_quantity_is_the_exact_sum_of_the_columns_named(tmp_path: Path) -> None:
    mapping = Mapping(time_column="t", customers=2, quantity="a+b")
    (row,) = table(tmp_path, "t,a,b\n2023-11-16 18:15:46.6805900,0.1,0.2\n", mapping).rows
    assert row.quantity == "0.3"
    assert row.at_ms == ms(2023, 11, 16, 18, 15, 46) + 680


def test_customers_in_turn_follow_the_row_number(tmp_path: Path) -> None:
    mapping = Mapping(time_column="t", time_format="unix", customers=2)
    rows = table(tmp_path, "t\n3\n1\n2\n", mapping).rows
    assert [(row.number, row.customer) for row in rows] == [
        (2, "replay-2"), (3, "replay-1"), (1, "replay-1"),
    ]  # fmt: skip
    assert "row n is replay-(((n - 1) mod 2) + 1)" in mapping.customer_rule()


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no column 'tokens'; there are t, a"):
        table(tmp_path, "t,a\n1,2\n", Mapping(time_column="t", customers=1, quantity="tokens"))


@pytest.mark.parametrize("bad", ["-1", "1e3", "nan", "1,5", "", "0x10", "٣x"])
def test_a_quantity_that_is_no_plain_number_is_refused(tmp_path: Path, bad: str) -> None:
    mapping = Mapping(time_column="t", time_format="unix", customers=1, quantity="q")
    recording = table(tmp_path, f't,q\n1,"{bad}"\n', mapping)
    assert recording.rows == []
    assert "q is not a plain number" in str(recording.unreadable[0])


@pytest.mark.parametrize("bad", ["", "a\x00b", "x" * 256])
def test_a_customer_that_is_no_id_is_refused(tmp_path: Path, bad: str) -> None:
    mapping = Mapping(time_column="t", time_format="unix", customer_column="c")
    recording = table(tmp_path, f't,c\n1,"{bad}"\n', mapping)
    assert "c is no customer id" in str(recording.unreadable[0])


def test_a_row_with_too_few_columns_is_unreadable(tmp_path: Path) -> None:
    mapping = Mapping(time_column="t", time_format="unix", customers=1, quantity="q")
    assert "2 columns expected" in str(table(tmp_path, "t,q\n1\n", mapping).unreadable[0])


def test_times_without_an_offset_are_in_the_zone_given() -> None:
    kolkata = ZoneInfo("Asia/Kolkata")
    assert parse_time("2023-11-16 18:15:46", "iso", kolkata) == ms(2023, 11, 16, 12, 45, 46)
    assert parse_time("2023-11-16T18:15:46Z", "iso", kolkata) == ms(2023, 11, 16, 18, 15, 46)
    assert parse_time("1700000000.1239", "unix", kolkata) == 1_700_000_000_123
    assert parse_time("1700000000123", "unix-ms", kolkata) == 1_700_000_000_123


@pytest.mark.parametrize(
    "bad", ["yesterday", "2023-13-40 00:00:00", "17/Foo/2015:10:05:03 +0000", ""]
)
def test_a_time_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        parse_time(bad, "iso", UTC)


def test_a_mapping_names_a_customer_column_or_a_number_but_not_both() -> None:
    with pytest.raises(ValueError, match="not both"):
        Mapping(time_column="t")
    with pytest.raises(ValueError, match="not both"):
        Mapping(time_column="t", customers=3, customer_column="c")


DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


@pytest.mark.skipif(not DATA.exists(), reason="the recorded traffic is not here")
def test_every_row_of_the_recorded_traffic_is_read() -> None:
    tokens = Mapping(
        time_column="TIMESTAMP", customers=10, quantity="ContextTokens+GeneratedTokens"
    )
    assert len(read_recording(DATA / "access.log", "combined", ACCESS).rows) == 10_000
    trace = read_recording(DATA / "llm-conversation-trace.csv", "csv", tokens)
    assert (len(trace.rows), trace.unreadable) == (19_366, [])
