from dataclasses import replace

import msgpack
import pytest

from reconciler.batch import Position, gather, segments_opened, usage_sums
from reconciler.entry import EntryUnreadable, decode, link, storable
from tests.reconciler.log_entries import AT_MS, PERIOD, as_read, entry

START = Position(bucket=7)


def entries(*places: str, **changes):
    return [
        (place.encode(), as_read(entry(used_after=number, **changes)))
        for number, place in enumerate(places, 1)
    ]


def test_an_entry_becomes_one_row_per_item():
    items = "a,3,1,0,0,2,0,4000,10,20,1,3,2;b,1,1,0,0,0,0,0,10,20,2,9,0"
    first, second = decode(7, b"2-5", as_read(entry(i=items)))
    assert (first.id, first.item, first.feature, first.overage) == ("0007-2-5", 0, "a", 2)
    assert (second.item, second.feature, second.segment, second.used_after) == (1, "b", 2, 9)
    assert first.cost_nano == 4000
    assert first.stamp == {"request": "req-1", "metadata": {"route": "/search"}}
    assert (first.entitlement, first.plan, first.catalog, first.source) == (1, "pro", 1, "svc")


@pytest.mark.parametrize(
    "changes",
    [
        {"f": "9"},
        {"v": "guess"},
        {"i": "a,1"},
        {"i": "a,3,1,0,0,1,0,0,10,20,1,3,2"},
        {"i": "a,1,1,0,0,0,0,0,10,20,0,1,0"},
        {"t": "soon"},
        {"s": b"\xc1"},
        {"s": msgpack.packb({"p": "pro"})},
    ],
)
def test_an_entry_that_is_not_understood_is_refused_by_name(changes):
    with pytest.raises(EntryUnreadable, match="0007-2-5"):
        decode(7, b"2-5", as_read(entry(**changes)))


def test_metadata_that_postgres_cannot_keep_is_made_storable():
    kept = storable({"a": "x\x00y", "b": float("nan"), "c": [1, 2.5, None, True]})
    assert kept == {"a": "x\ufffdy", "b": "nan", "c": [1, 2.5, None, True]}


def test_a_contiguous_log_is_taken_whole():
    batch = gather(START, entries("1-1", "1-2", "1-3"), {})
    assert (batch.entries, batch.end.epoch, batch.end.seq) == (3, 1, 3)
    assert batch.losses == ()
    assert batch.end.chain == batch.chains[-1]


def test_what_was_copied_before_is_skipped():
    position = replace(START, epoch=1, seq=2)
    batch = gather(position, entries("1-1", "1-2", "1-3"), {})
    assert [row.seq for row in batch.rows] == [3]


def test_a_gap_inside_an_epoch_is_a_loss_with_its_extent():
    batch = gather(START, entries("1-1", "1-5"), {})
    assert [(loss.epoch, loss.from_seq, loss.to_seq) for loss in batch.losses] == [(1, 2, 4)]


def test_a_gap_at_the_end_of_an_epoch_shows_when_the_next_begins():
    position = replace(START, epoch=1, seq=2)
    batch = gather(position, entries("4-2"), {1: 6, 3: 2})
    found = [(loss.epoch, loss.from_seq, loss.to_seq) for loss in batch.losses]
    assert found == [(1, 3, 6), (3, 1, 2), (4, 1, 1)]


def test_entries_that_redis_forgot_and_postgres_has_are_no_loss():
    position = replace(START, epoch=1, seq=9)
    assert gather(position, entries("2-1"), {1: 4}).losses == ()


def test_an_unreadable_entry_ends_the_batch_before_it():
    broken = [*entries("1-1"), (b"1-2", as_read(entry(f="9"))), *entries("1-3")]
    assert gather(START, broken, {}).end.seq == 1
    with pytest.raises(EntryUnreadable):
        gather(replace(START, epoch=1, seq=1), broken, {})


def test_the_chain_changes_with_any_field_and_with_the_row_before():
    (row,) = decode(7, b"2-5", as_read(entry()))
    assert link(b"", row) != link(b"x", row)
    for change in ({"quantity": 2}, {"plan": "free"}, {"at_ms": 1}, {"stamp": {}}):
        assert link(b"", row) != link(b"", replace(row, **change))


def test_the_chain_reads_equal_numbers_alike():
    (row,) = decode(7, b"2-5", as_read(entry()))
    as_float = replace(row, stamp={"metadata": {"n": 1e22}})
    as_integer = replace(row, stamp={"metadata": {"n": 10**22}})
    assert link(b"", as_float) == link(b"", as_integer)


def test_rollups_are_kept_by_the_quarter_of_an_hour():
    late = entries("1-1", at_ms=AT_MS + 900_000)
    rows = gather(START, [*entries("1-1", "1-2"), (b"1-3", late[0][1])], {}).rows
    sums = usage_sums(rows)
    assert [total.quantity for total in sums.values()] == [2, 1]
    assert {key[5] for key in sums} == {AT_MS, AT_MS + 900_000}


def test_a_segment_remembers_the_entitlement_of_its_first_row():
    rows = gather(START, entries("1-1", "1-2"), {}).rows
    later = [replace(row, entitlement=5, seq=row.seq + 2) for row in rows]
    opened = segments_opened([*rows, *later])
    assert opened == {("acme", "api_calls", PERIOD[0], 1): (1, AT_MS)}
