import re
from hashlib import sha256

from lua import keys
from tests.reconciler.control.plane import Plane


def test_a_secret_is_shown_once_and_only_its_hash_is_kept(plane: Plane) -> None:
    made = plane.ok("POST", "/v1/keys", {"label": "sidecar", "scopes": ["consume"]})
    assert re.fullmatch(r"tg_live_[0-9A-Za-z]{43}", made["key"])
    listed = plane.ok("GET", "/v1/keys")["data"][0]
    assert listed["id"] == made["id"]
    assert "key" not in listed
    digest = sha256(made["key"].encode()).hexdigest()
    assert plane.redis.hget(keys.api_key(digest), "scopes") == b"consume"
    dump = plane.connection.execute("SELECT t::text FROM tg.api_keys t").fetchall()
    assert made["key"] not in str(dump)


def test_a_customer_key_stands_for_one_customer(plane: Plane) -> None:
    plane.ok("PUT", "/v1/customers/acme", {})
    made = plane.ok("POST", "/v1/keys", {"customer": "acme"})
    digest = sha256(made["key"].encode()).hexdigest()
    stored = plane.redis.hgetall(keys.api_key(digest))
    assert (stored[b"kind"], stored[b"customer"]) == (b"customer", b"acme")
    refused = plane.ask("POST", "/v1/keys", {"customer": "acme", "scopes": ["read"]})
    assert refused.status == 422


def test_a_revoked_key_leaves_redis_and_the_control_plane(plane: Plane) -> None:
    made = plane.ok("POST", "/v1/keys", {"scopes": ["admin"]})
    assert plane.ask("GET", "/v1/customers", key=made["key"]).status == 200
    revoked = plane.ok("DELETE", f"/v1/keys/{made['id']}")
    assert revoked["revokedAt"]
    assert plane.ask("GET", "/v1/customers", key=made["key"]).status == 401
    assert not list(plane.redis.scan_iter("tg:key:*"))
    assert plane.ok("GET", "/v1/keys")["data"] == []
    assert len(plane.ok("GET", "/v1/keys?revoked=true")["data"]) == 1


def test_a_read_key_reads_and_changes_nothing(plane: Plane) -> None:
    made = plane.ok("POST", "/v1/keys", {"scopes": ["read"]})
    assert plane.ask("GET", "/v1/customers", key=made["key"]).status == 200
    assert plane.ask("PUT", "/v1/customers/acme", {}, key=made["key"]).status == 403
    assert plane.ask("GET", "/v1/keys", key=made["key"]).status == 403


def test_a_bound_key_reads_its_customers_only(plane: Plane) -> None:
    for customer in ("acme", "umbrella"):
        plane.ok("PUT", f"/v1/customers/{customer}", {})
    made = plane.ok("POST", "/v1/keys", {"scopes": ["read"], "customers": ["acme"]})
    assert plane.ask("GET", "/v1/customers/acme", key=made["key"]).status == 200
    assert plane.ask("GET", "/v1/customers/umbrella", key=made["key"]).status == 403
    assert plane.ask("GET", "/v1/customers", key=made["key"]).status == 403


def test_a_customer_key_has_no_place_here(plane: Plane) -> None:
    plane.ok("PUT", "/v1/customers/acme", {})
    made = plane.ok("POST", "/v1/keys", {"customer": "acme"})
    assert plane.ask("GET", "/v1/customers/acme", key=made["key"]).status == 403


def test_no_key_and_a_wrong_key_are_401(plane: Plane) -> None:
    assert plane.ask("GET", "/v1/customers", key=None).status == 401
    answer = plane.ask("GET", "/v1/customers", key="guess")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_issued_keys_become_known_by_their_hash(plane: Plane) -> None:
    plane.ok("PUT", "/v1/customers/acme", {})
    wanted = [
        {"customer": "acme", "sha256": sha256(f"old-{n}".encode()).hexdigest()} for n in range(1000)
    ]
    assert len(plane.ok("POST", "/v1/keys", {"keys": wanted})["data"]) == 1000
    again = plane.ok("POST", "/v1/keys", {"keys": wanted[:2]})
    assert "key" not in again["data"][0]
    assert len(list(plane.redis.scan_iter("tg:key:*", count=5000))) == 1000
    first = plane.ok("GET", "/v1/keys?limit=600")
    rest = plane.ok("GET", f"/v1/keys?limit=600&after={first['next']}")
    assert len({each["id"] for each in first["data"] + rest["data"]}) == 1000


def test_an_import_with_one_bad_entry_changes_nothing(plane: Plane) -> None:
    plane.ok("PUT", "/v1/customers/acme", {})
    good = {"customer": "acme", "sha256": "a" * 64}
    bad = {"customer": "nobody", "sha256": "b" * 64}
    answer = plane.ask("POST", "/v1/keys", {"keys": [good, bad]})
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, "/keys/1/customer")
    assert plane.ok("GET", "/v1/keys")["data"] == []


def test_a_key_of_another_customer_cannot_be_taken_over(plane: Plane) -> None:
    for customer in ("acme", "umbrella"):
        plane.ok("PUT", f"/v1/customers/{customer}", {})
    plane.ok("POST", "/v1/keys", {"customer": "acme", "sha256": "a" * 64})
    answer = plane.ask("POST", "/v1/keys", {"customer": "umbrella", "sha256": "a" * 64})
    assert (answer.status, answer.body["code"]) == (409, "key_known")


def test_an_unknown_scope_is_refused_with_the_one_meant(plane: Plane) -> None:
    answer = plane.ask("POST", "/v1/keys", {"scopes": ["consum"]})
    assert (answer.status, answer.body["errors"][0]["suggestion"]) == (422, "consume")
