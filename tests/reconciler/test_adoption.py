import psycopg
import pytest

from lua import keys
from lua.reply import Code
from lua.state import UsageState
from reconciler import rebuild
from reconciler.adoption import AdoptionRefused, adopt, take_asked
from reconciler.copier import Copier
from tests.lua.calls import feature, limit, per_unit
from tests.reconciler.decisions import HOUR_MS, Decisions, charged

pytestmark = pytest.mark.usefixtures("few_buckets")


def wipe(decisions: Decisions) -> None:
    decisions.redis.flushall()


def lose_meta_ids(decisions: Decisions) -> None:
    """What a restart of the server does to what buckets know."""
    for bucket in range(keys.BUCKETS):
        decisions.redis.hset(keys.meta(bucket), "run_id", "another")


def test_every_bucket_is_adopted_at_the_first_start(redis_client, connection):
    decisions = Decisions(redis=redis_client, connection=connection)
    assert len(decisions.adopt().buckets) == keys.BUCKETS
    assert decisions.adopt().buckets == ()
    assert decisions.published == 1


def test_a_bucket_decides_only_after_adoption(redis_client, connection):
    decisions = Decisions(redis=redis_client, connection=connection)
    acme = decisions.entitle("acme")
    assert acme.consume().code == Code.FENCED
    decisions.adopt()
    assert acme.consume().code == Code.DONE


def test_adoption_raises_generations_so_that_a_paused_batch_adds_nothing(decisions):
    decisions.entitle("acme")
    decisions.consume("acme", 3)
    paused = Copier(decisions.redis, batch_entries_max=100)
    paused.refresh(decisions.connection)
    lose_meta_ids(decisions)
    decisions.adopt()
    assert paused.copy(decisions.connection, now_ms=decisions.now_ms()) == 0
    assert decisions.ledger("acme") == 0
    assert paused.copy(decisions.connection, now_ms=decisions.now_ms()) == 1
    assert decisions.ledger("acme") == 3


def test_a_new_epoch_goes_on_where_the_counters_were(decisions):
    decisions.entitle("acme")
    first = decisions.consume("acme", 3)
    lose_meta_ids(decisions)
    decisions.adopt()
    second = decisions.consume("acme", 4)
    assert second.epoch > first.epoch
    assert second.seq == 1
    assert decisions.copy() == 2
    assert decisions.ledger("acme") == decisions.counter("acme") == 7


def test_an_emptied_redis_is_counted_again_from_the_ledger(decisions):
    acme = decisions.entitle(
        "acme",
        charged(),
        feature("searches", limits=(limit(50, "hour"), limit(90, "day", "first_use"))),
    )
    decisions.consume("acme", 12)
    decisions.consume("acme", 5, name="searches")
    decisions.copy()
    before = {name: UsageState.parse(acme.state(name)) for name in ("api_calls", "searches")}
    wipe(decisions)
    assert acme.consume().code == Code.FENCED
    done = decisions.adopt()
    assert done.rebuilt == (keys.bucket_of("acme"),)
    after = {name: UsageState.parse(acme.state(name)) for name in ("api_calls", "searches")}
    assert after == before
    decisions.consume("acme", 2)
    decisions.copy()
    assert decisions.ledger("acme") == 19
    assert decisions.counter("acme") == 14


def test_what_was_not_copied_before_redis_was_emptied_is_a_recorded_loss(decisions):
    decisions.entitle("acme")
    reply = decisions.consume("acme", 12)
    decisions.copy()
    decisions.consume("acme", 1)
    wipe(decisions)
    decisions.adopt()
    found = decisions.connection.execute("SELECT epoch, from_seq, to_seq FROM tg.losses").fetchall()
    assert found == [(reply.epoch, reply.seq + 1, None)]


def test_a_rolled_back_redis_gets_back_what_postgres_has(decisions):
    decisions.entitle("acme")
    decisions.consume("acme", 4)
    saved = {key: decisions.redis.dump(key) for key in decisions.redis.keys("*")}
    decisions.consume("acme", 8)
    decisions.copy()
    wipe(decisions)
    for key, value in saved.items():
        decisions.redis.restore(key, 0, value)
    lose_meta_ids(decisions)
    decisions.adopt()
    assert decisions.counter("acme") == 12
    decisions.consume("acme", 1)
    decisions.copy()
    assert decisions.ledger("acme") == decisions.counter("acme") == 13


def test_a_bucket_that_lost_entries_without_a_restart_is_closed_and_counted_again(decisions):
    decisions.entitle("acme")
    decisions.consume("acme", 4)
    decisions.copy()
    bucket = keys.bucket_of("acme")
    decisions.redis.hset(keys.meta(bucket), "seq", 0)
    decisions.redis.delete(keys.log(bucket), keys.usage("acme", "api_calls"))
    decisions.adopt(forced={bucket})
    assert decisions.counter("acme") == 4


def test_ended_windows_are_not_counted_again(decisions):
    acme = decisions.entitle("acme", charged())
    decisions.consume("acme", 4)
    decisions.copy()
    wipe(decisions)
    decisions.adopt(now_ms=decisions.now_ms() + 400 * 24 * HOUR_MS)
    assert acme.state() == {}


def test_segments_come_back_with_their_prices(decisions):
    acme = decisions.entitle("acme")
    decisions.consume("acme", 12)
    decisions.entitle("acme", charged(price=per_unit("0.01")), version=2)
    decisions.consume("acme", 5)
    before = UsageState.parse(acme.state())
    decisions.copy()
    wipe(decisions)
    decisions.adopt()
    assert UsageState.parse(acme.state()) == before
    assert len(before.segments) == 2


def test_a_bucket_too_large_to_count_again_stays_closed_and_says_so(decisions, monkeypatch):
    acme = decisions.entitle("acme")
    for _ in range(3):
        decisions.consume("acme")
    decisions.copy()
    wipe(decisions)
    monkeypatch.setattr(rebuild, "ROWS_MAX", 2)
    assert decisions.adopt().refused == (keys.bucket_of("acme"),)
    assert acme.consume().code == Code.FENCED
    (note,) = decisions.connection.execute("SELECT note FROM tg.losses").fetchone()
    assert "stays closed" in note


def test_an_epoch_that_a_restored_postgres_does_not_know_is_passed(decisions):
    decisions.entitle("acme")
    bucket = keys.bucket_of("acme")
    decisions.redis.hset(keys.meta(bucket), mapping={"epoch": 90, "run_id": "another"})
    decisions.adopt()
    assert decisions.consume("acme").epoch == 91


def test_a_redis_of_another_installation_is_refused(decisions):
    decisions.redis.hset(keys.meta(2), mapping={"buckets": 16, "run_id": "another"})
    with pytest.raises(AdoptionRefused, match="another installation"):
        decisions.adopt()


def test_while_one_adopts_another_stands_back(decisions, database_url):
    lose_meta_ids(decisions)
    during = []

    def publish(connection, redis):
        with psycopg.connect(database_url, autocommit=True) as other:
            during.append(adopt(other, redis, publish=print, offset_ms=0, now_ms=0))

    adopt(decisions.connection, decisions.redis, publish=publish, offset_ms=0, now_ms=0)
    assert [each.busy for each in during] == [True]


def test_buckets_that_gateways_ask_for_are_taken_once(decisions):
    decisions.redis.sadd(keys.ADOPT, 0, 3, "nonsense", 4096)
    assert take_asked(decisions.redis) == {0, 3}
    assert take_asked(decisions.redis) == set()


def test_the_test_clock_survives_the_loss_of_redis(decisions):
    acme = decisions.entitle("acme")
    wipe(decisions)
    decisions.adopt(offset_ms=HOUR_MS)
    assert acme.consume().now_ms >= decisions.now_ms() + HOUR_MS - 5_000
