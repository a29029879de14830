import pytest

from lua import keys
from reconciler.copier import Copier
from tests.reconciler.log_entries import AT_MS, FakeLog, entry


@pytest.fixture
def logs(redis_client):
    return FakeLog(redis=redis_client)


@pytest.fixture
def copier(redis_client):
    return Copier(redis_client, batch_entries_max=100)


def copy_all(copier, connection):
    total = 0
    while copied := copier.copy(connection, now_ms=AT_MS):
        total += copied
    return total


def used(connection, customer="acme"):
    rows = connection.execute(
        "SELECT coalesce(sum(quantity), 0)::bigint FROM tg.usage WHERE customer = %s", [customer]
    )
    return rows.fetchone()[0]


def test_decisions_of_many_customers_reach_the_ledger_once(copier, connection, logs):
    for number in range(500):
        logs.consume(f"customer-{number % 50}", 1 + number % 3)
    assert copy_all(copier, connection) == 500
    assert copy_all(copier, connection) == 0
    decisions, units = connection.execute(
        "SELECT count(*), sum(quantity)::bigint FROM tg.decisions"
    ).fetchone()
    (rolled_up,) = connection.execute("SELECT sum(quantity)::bigint FROM tg.usage").fetchone()
    assert (decisions, units, rolled_up) == (500, sum(logs.used.values()), units)


def test_a_log_longer_than_a_batch_is_copied_in_several(copier, connection, logs):
    for _ in range(250):
        logs.consume("acme")
    assert copier.copy(connection, now_ms=AT_MS) == 100
    assert copy_all(copier, connection) == 150
    assert used(connection) == 250


def test_a_second_reconciler_adds_nothing(copier, connection, logs, redis_client):
    other = Copier(redis_client, batch_entries_max=100)
    other.refresh(connection)
    logs.consume("acme")
    assert copier.copy(connection, now_ms=AT_MS) == 1
    assert other.copy(connection, now_ms=AT_MS) == 0
    assert used(connection) == 1
    logs.consume("acme")
    assert other.copy(connection, now_ms=AT_MS) == 1
    assert used(connection) == 2


def test_after_a_restored_postgres_the_log_is_read_again(copier, connection, logs):
    logs.consume("acme", 5)
    copy_all(copier, connection)
    connection.execute("SET session_replication_role = replica")
    connection.execute("DELETE FROM tg.decisions")
    connection.execute("DELETE FROM tg.usage")
    connection.execute("UPDATE tg.positions SET epoch = 0, seq = 0, chain = ''")
    logs.consume("acme", 2)
    copier.refresh(connection)
    assert copy_all(copier, connection) == 2
    assert used(connection) == 7


def test_entries_gone_from_the_log_are_a_recorded_loss(copier, connection, logs, redis_client):
    for _ in range(6):
        logs.consume("acme")
    redis_client.xtrim(keys.log(keys.bucket_of("acme")), minid="1-4", approximate=False)
    copy_all(copier, connection)
    lost = connection.execute("SELECT epoch, from_seq, to_seq FROM tg.losses").fetchall()
    assert lost == [(1, 1, 3)]
    assert used(connection) == 3


def test_an_unreadable_entry_stops_its_bucket_and_no_other(copier, connection, logs, redis_client):
    logs.consume("acme")
    bucket = keys.bucket_of("acme")
    redis_client.xadd(keys.log(bucket), entry(f="9"), id="1-2")
    logs.consume("globex")
    copy_all(copier, connection)
    assert (used(connection), used(connection, "globex")) == (1, 1)
    place = connection.execute("SELECT seq FROM tg.positions WHERE bucket = %s", [bucket])
    assert place.fetchone() == (1,)


def test_a_value_postgres_refuses_stops_its_bucket_and_no_other(copier, connection, logs):
    logs.consume("acme", c="nul\x00byte")
    logs.consume("globex")
    copy_all(copier, connection)
    assert used(connection, "globex") == 1
    assert connection.execute("SELECT count(*) FROM tg.decisions").fetchone() == (1,)
