import time
from threading import Event, Thread

import psycopg
import pytest

from lua import keys
from lua.reply import Code
from reconciler import metrics
from reconciler.batch import Position
from reconciler.denials import forget_denials, ship_denials
from reconciler.lag import measure_lag
from reconciler.loop import RETRY_MAX_MS, Loop, retry_pause_ms
from reconciler.server import read_metas
from reconciler.settings import Settings
from reconciler.trimming import Trimmer
from tests.reconciler.decisions import Decisions
from tests.reconciler.log_entries import AT_MS, FakeLog

WAIT_MAX_S = 20


def until(condition) -> None:
    """Wait for another thread, not for time."""
    deadline = time.monotonic() + WAIT_MAX_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)


@pytest.fixture
def settings(valkey_url, database_url) -> Settings:
    return Settings(redis_url=valkey_url, database_url=database_url)


@pytest.fixture
def loop(settings, redis_client) -> Loop:
    return Loop(
        settings,
        redis_client,
        lambda: psycopg.connect(settings.database_url, autocommit=True),
    )


@pytest.fixture
def running(loop):
    """The loop in a thread of its own."""
    stop = Event()
    thread = Thread(target=loop.run, args=[stop])
    thread.start()
    yield loop
    stop.set()
    thread.join(WAIT_MAX_S)
    assert not thread.is_alive()


def test_once_adopts_copies_and_ends(loop, redis_client, connection):
    log = FakeLog(redis=redis_client)
    for _ in range(3):
        log.consume("acme")
    assert loop.once() == 3
    assert connection.execute("SELECT count(*) FROM tg.decisions").fetchone() == (3,)


def test_decisions_reach_the_ledger_while_the_loop_runs(running, redis_client, connection):
    until(running.adopted.is_set)
    decisions = Decisions(redis=redis_client, connection=connection)
    decisions.entitle("acme")
    for _ in range(5):
        decisions.consume("acme", 2)
    until(lambda: decisions.ledger("acme") == 10)


def test_a_bucket_that_a_gateway_asks_for_is_adopted(running, redis_client, connection):
    until(running.adopted.is_set)
    decisions = Decisions(redis=redis_client, connection=connection)
    acme = decisions.entitle("acme")
    redis_client.delete(keys.meta(acme.bucket))
    assert acme.consume().code == Code.FENCED
    redis_client.sadd(keys.ADOPT, acme.bucket)
    until(lambda: acme.consume().code == Code.DONE)


def test_an_emptied_redis_is_noticed_and_adopted(running, redis_client, connection):
    until(running.adopted.is_set)
    decisions = Decisions(redis=redis_client, connection=connection)
    acme = decisions.entitle("acme")
    decisions.consume("acme", 3)
    until(lambda: decisions.ledger("acme") == 3)
    redis_client.flushall()
    until(lambda: redis_client.hexists(keys.meta(acme.bucket), "run_id"))
    decisions.consume("acme", 4)
    until(lambda: decisions.ledger("acme") == 7)
    assert decisions.counter("acme") == 7


def test_the_loop_outlives_a_broken_connection_to_postgres(running, redis_client, connection):
    until(running.adopted.is_set)
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    decisions = Decisions(redis=redis_client, connection=connection)
    decisions.entitle("acme")
    decisions.consume("acme", 3)
    until(lambda: decisions.ledger("acme") == 3)


def test_pauses_between_tries_grow_and_are_bounded():
    pauses = [retry_pause_ms(failures) for failures in range(1, 200)]
    assert pauses[0] <= 100
    assert max(pauses) <= RETRY_MAX_MS
    assert min(pauses[10:]) >= RETRY_MAX_MS * 3 // 4


def place(epoch: int, seq: int) -> dict[int, Position]:
    bucket = keys.bucket_of("acme")
    return {bucket: Position(bucket=bucket, epoch=epoch, seq=seq)}


def left(redis_client) -> list[bytes]:
    return [entry_id for entry_id, _ in redis_client.xrange(keys.log(keys.bucket_of("acme")))]


def test_the_log_is_trimmed_behind_postgres_and_after_the_retention(redis_client):
    log = FakeLog(redis=redis_client)
    for _ in range(5):
        log.consume("acme")
    trimmer = Trimmer(redis_client, retention_ms=1_000)
    trimmer.note(place(1, 2), at_ms=0)
    trimmer.note(place(1, 4), at_ms=600)
    assert trimmer.trim(place(1, 4), at_ms=999) == 0
    assert trimmer.trim(place(1, 4), at_ms=1_000) == 2
    assert left(redis_client) == [b"1-3", b"1-4", b"1-5"]
    assert trimmer.trim(place(1, 4), at_ms=1_600) == 2
    assert left(redis_client) == [b"1-5"]


def test_a_postgres_that_went_back_keeps_the_log(redis_client):
    log = FakeLog(redis=redis_client)
    for _ in range(5):
        log.consume("acme")
    trimmer = Trimmer(redis_client, retention_ms=1_000)
    trimmer.note(place(1, 4), at_ms=0)
    trimmer.trim(place(1, 1), at_ms=2_000)
    assert left(redis_client) == [b"1-2", b"1-3", b"1-4", b"1-5"]


def test_a_restarted_reconciler_knows_what_was_copied_long_ago(loop, redis_client, connection):
    log = FakeLog(redis=redis_client)
    for number in range(5):
        log.consume("acme", at_ms=AT_MS + number * 1_000)
    loop.once()
    trimmer = Trimmer(redis_client, retention_ms=1_500)
    at_ms = 50_000
    trimmer.start(connection, place(1, 5), at_ms=at_ms, now_ms=AT_MS + 3_500)
    trimmer.trim(place(1, 5), at_ms=at_ms)
    assert left(redis_client) == [b"1-4", b"1-5"]


def test_lag_is_counted_in_entries_and_in_the_age_of_the_oldest(redis_client):
    log = FakeLog(redis=redis_client)
    for _ in range(5):
        log.consume("acme")
    bucket = keys.bucket_of("acme")
    metas = read_metas(redis_client, [bucket])
    measure_lag(redis_client, place(1, 2), metas, AT_MS + 7_000)
    assert metrics.LAG_ENTRIES._value.get() == 3
    assert metrics.LAG_SECONDS._value.get() == 7
    measure_lag(redis_client, place(1, 5), metas, AT_MS + 7_000)
    assert metrics.LAG_ENTRIES._value.get() == 0
    assert metrics.LAG_SECONDS._value.get() == 0


def denial(number: int, **changes) -> dict[str, str]:
    return {
        "id": f"d-{number}",
        "t": str(AT_MS),
        "c": "acme",
        "feature": "api_calls",
        "q": "1",
        "reason": "limit_reached",
        "doc": '{"allowed": false, "message": "no\\u0000"}',
        **changes,
    }


def test_denials_are_shipped_once_and_leave_redis(redis_client, connection):
    stream = keys.denied(keys.bucket_of("acme"))
    for number in (1, 2, 2):
        redis_client.xadd(stream, denial(number))
    redis_client.xadd(stream, denial(3, q="many"))
    assert ship_denials(connection, redis_client) == 4
    assert ship_denials(connection, redis_client) == 0
    found = connection.execute("SELECT id, reason FROM tg.denials ORDER BY id").fetchall()
    assert found == [("d-1", "limit_reached"), ("d-2", "limit_reached")]
    forget_denials(connection, before_ms=AT_MS + 1)
    assert connection.execute("SELECT count(*) FROM tg.denials").fetchone() == (0,)
