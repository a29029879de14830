"""A request finds its route however its path is spelt."""

from typing import Any

import pytest

from gateway.pricing.catalog import load_catalog
from gateway.pricing.routes import Route, match_route, normal_path, parse_match
from tests.pricing.catalogs import whole

ROUTES = (
    Route(match="GET /healthz", free=True),
    Route(match="POST /v1/search", feature="api", cost=5),
    Route(match="/v1/items/*/history", feature="history", cost=1),
    Route(match="GET /v1/items/*", feature="items", cost=1),
    Route(match="admin.example.com/*", feature="admin", cost=1),
    Route(match="PUT *.example.com:8443/x", feature="port", cost=1),
    Route(match="DELETE *", feature="deletes", cost=1),
    Route(match="/", feature="root", cost=1),
    Route(match="*", feature="rest", cost=1),
)


def found(method: str, path: str, host: str = "api.example.com") -> str | None:
    return match_route(ROUTES, method, host, path).feature


@pytest.mark.parametrize(
    ("method", "path", "feature"),
    [
        ("GET", "/healthz", None),
        ("POST", "/healthz", "rest"),
        ("get", "/healthz", None),
        ("POST", "/v1/search", "api"),
        ("POST", "/v1/search?q=x", "api"),
        ("POST", "/v1/search/", "api"),
        ("POST", "/v1/search/deep", "rest"),
        ("POST", "/V1/search", "rest"),
        ("GET", "/v1/items/7", "items"),
        ("GET", "/v1/items/7/parts/8", "items"),
        ("GET", "/v1/items", "rest"),
        ("GET", "/v1/items/7/history", "history"),
        ("POST", "/v1/items/7/history", "history"),
        ("DELETE", "/anything/at/all", "deletes"),
        ("GET", "/", "root"),
        ("GET", "", "root"),
    ],
)
def test_the_first_route_that_matches_wins(method: str, path: str, feature: str | None) -> None:
    assert found(method, path) == feature


@pytest.mark.parametrize(
    "path",
    [
        "/v1//search",
        "//v1/search",
        "/v1/./search",
        "/v1/x/../search",
        "/../v1/search",
        "/v1/%73earch",
        "/v1%2Fsearch",
        "/v1/search#part",
        "/v1/search/?a=/../x",
    ],
)
def test_another_spelling_of_a_path_is_no_way_around_its_price(path: str) -> None:
    assert found("POST", path) == "api"


@pytest.mark.parametrize(
    ("host", "path", "feature"),
    [
        ("admin.example.com", "/x", "admin"),
        ("ADMIN.example.com:8443", "/x/y", "admin"),
        ("xadmin.example.com", "/x", "rest"),
        ("admin-example.com", "/x", "rest"),
    ],
)
def test_a_host_is_matched_whole_with_any_port(host: str, path: str, feature: str) -> None:
    assert found("GET", path, host) == feature


def test_a_host_pattern_has_one_label_for_a_star_and_may_name_the_port() -> None:
    assert found("PUT", "/x", "a.example.com:8443") == "port"
    assert found("PUT", "/x", "a.example.com") == "rest"
    assert found("PUT", "/x", "a.b.example.com:8443") == "rest"


def test_without_a_last_route_a_request_may_find_none() -> None:
    with pytest.raises(LookupError, match="no route matches GET h/x"):
        match_route(ROUTES[:1], "GET", "h", "/x")


@pytest.mark.parametrize(
    ("path", "normal"),
    [("/a/b/", "/a/b"), ("/a%20b", "/a b"), ("/..", "/"), ("a", "/a"), ("/%zz", "/%zz"),
     ("/%ff", "/\ufffd"), ("/a/..%2f..%2fb", "/b")],
)  # fmt: skip
def test_paths_have_one_normal_form(path: str, normal: str) -> None:
    assert normal_path(path) == normal


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "METHOD host/path"),
        ("a b c", "METHOD host/path"),
        ("get /x", "capital letters"),
        ("GET", "'GET *'"),
        ("/a*b", "path segment 'a*b'"),
        ("/a//b", "path segment ''"),
        ("/a/../b", "path segment '..'"),
        ("/a?b", "path segment 'a?b'"),
        ("exa mple.com/x", "capital letters"),
        ("-_!/x", "host"),
        ("/" + "x" * 600, "longer"),
    ],
)
def test_a_match_that_cannot_be_meant_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_match(text)
    assert problem in str(refused.value)


def test_routes_of_a_catalog_cost_base_units() -> None:
    routes: list[dict[str, Any]] = [
        {"match": "GET  /healthz", "free": True},
        {"match": "/search", "feature": "ai", "cost": "2.5"},
        {"match": "/ai", "feature": "ai"},
        {"match": "/api", "feature": "api"},
        {"match": "/sso", "feature": "sso"},
        {"match": "/zero", "feature": "api", "cost": "0"},
        {"match": "/chat", "feature": "ai", "hold": "25", "capture": {
            "variant": "model", "usage": {"input": "usage.prompt_tokens"}}},
        {"match": "*", "free": True},
    ]  # fmt: skip
    read = load_catalog(whole(routes=routes)).routes
    assert [route.cost for route in read] == [None, 250, 100, 1, None, 0, None, None]
    assert read[0].match == "GET /healthz" and read[0].free
    assert read[6].hold == 2500 and read[6].capture is not None
