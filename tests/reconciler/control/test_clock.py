import pytest

from lua import keys
from reconciler.clock import parse_rfc3339
from tests.reconciler.control.plane import Plane


def test_the_clock_moves_forward_in_postgres_and_in_every_bucket(plane: Plane) -> None:
    before = parse_rfc3339(plane.ok("GET", "/v1/clock")["now"])
    moved = plane.ok("POST", "/v1/clock", {"advance": "31 days"})
    assert 0 <= parse_rfc3339(moved["now"]) - before - 31 * 86_400_000 < 60_000
    for bucket in (0, 1023):
        assert plane.redis.hget(keys.meta(bucket), "offset_ms") == str(moved["offsetMs"]).encode()
    assert plane.ok("POST", "/v1/clock", {"set": "2030-01-01T00:00:00Z"})["now"].startswith("2030")


def test_the_clock_never_goes_back(plane: Plane) -> None:
    answer = plane.ask("POST", "/v1/clock", {"set": "2020-01-01T00:00:00Z"})
    assert (answer.status, answer.body["code"]) == (409, "clock_refused")


@pytest.mark.parametrize(
    "body",
    [{}, {"advance": "soon"}, {"advance": "never"}, {"set": "x"}, {"advance": "1 day", "set": "x"}],
)
def test_a_move_that_says_nothing_is_refused(plane: Plane, body: dict[str, str]) -> None:
    assert plane.ask("POST", "/v1/clock", body).status == 422
