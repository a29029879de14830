"""Every mistake in a catalog is found at once, at its place, with what was probably meant."""

from typing import Any

import pytest

from gateway.pricing.catalog import load_catalog
from gateway.pricing.catalog_problem import closest, dotted
from tests.pricing.catalogs import API, PRICE, charged, in_api, in_plan, only, problems_of, whole


@pytest.mark.parametrize(
    ("data", "path", "suggestion"),
    [
        (whole(curency="EUR"), ("curency",), "currency"),
        (whole(meters={}), ("meters",), "features"),
        (whole(features={"api": {"nmae": "x"}}, credits={}), ("features", "api", "nmae"), "name"),
        (in_plan(pricee="1"), ("plans", "p", "pricee"), "price"),
        (in_plan(usageInterval="month"), ("plans", "p", "usageInterval"), "usage_interval"),
        (in_plan(parent="plus"), ("plans", "p", "parent"), "extends"),
        (in_plan(trial={"for": "1 day", "the": "pay"}), ("plans", "p", "trial", "the"), "then"),
        (in_api(includd="1"), (*API, "includd"), "included"),
        (in_api(quota="1"), (*API, "quota"), "included"),
        (in_api(included={"eech": "1"}), (*API, "included", "eech"), "each"),
        (in_api(rollover={"maxx": "1"}), (*API, "rollover", "maxx"), "max"),
        (in_api(limits=[{"max": "1", "evry": "hour"}]), (*API, "limits", 0, "evry"), "every"),
        (charged(model="per_unit", unitt="1"), (*API, "price", "unitt"), "unit"),
        (
            charged(model="graduated", tiers=[{"unit": "1", "flatt": "2"}]),
            (*API, "price", "tiers", 0, "flatt"),
            "flat",
        ),
        (whole(credits={"c": {"costs": {}, "scal": "1"}}), ("credits", "c", "scal"), "scale"),
        (
            whole(packs={"k": {"credits": "coins", "quantity": "1", "price": "1", "expire": "x"}}),
            ("packs", "k", "expire"),
            "expires",
        ),
        (whole(routes=[{"match": "*", "fre": True}]), ("routes", 0, "fre"), "free"),
        (whole(links={"by": "https://a.example/"}), ("links", "by"), "buy"),
    ],
)
def test_an_unknown_name_at_any_level_is_an_error_with_a_suggestion(
    data: Any, path: Any, suggestion: str
) -> None:
    assert only(data) == (path, "unknown_field", suggestion)
    assert problems_of(data)[0].at_name


@pytest.mark.parametrize(
    ("data", "path", "code", "suggestion"),
    [
        (
            in_plan(features={"apy": {}}),
            ("plans", "p", "features", "apy"),
            "unknown_feature",
            "api",
        ),
        (
            whole(plans={"p": {"extends": "pluss"}, "plus": {}}),
            ("plans", "p", "extends"),
            "unknown_plan",
            "plus",
        ),
        (in_api(credits="coin"), (*API, "credits"), "unknown_credits", "coins"),
        (in_api(require=["usr"]), (*API, "require", 0), "unknown_entity", "user"),
        (
            in_api(limits=[{"max": "1", "every": "hour", "per": "usr"}]),
            (*API, "limits", 0, "per"),
            "unknown_entity",
            "user",
        ),
        (
            in_plan(trial={"for": "1 day", "then": "pai"}),
            ("plans", "p", "trial", "then"),
            "unknown_plan",
            "pay",
        ),
        (whole(default_plan="pp"), ("default_plan",), "unknown_plan", "p"),
        (
            whole(routes=[{"match": "*", "feature": "apis"}]),
            ("routes", 0, "feature"),
            "unknown_feature",
            "api",
        ),
        (
            whole(credits={"coins": {"costs": {"apj": "1"}}}),
            ("credits", "coins", "costs", "apj"),
            "unknown_feature",
            "api",
        ),
        (
            whole(packs={"k": {"credits": "coin", "quantity": "1", "price": "1"}}),
            ("packs", "k", "credits"),
            "unknown_credits",
            "coins",
        ),
        (
            whole(statuses={"allowance_exausted": "402"}),
            ("statuses", "allowance_exausted"),
            "unknown_reason",
            "allowance_exhausted",
        ),
    ],
)
def test_a_reference_to_nothing_is_an_error_with_a_suggestion(
    data: Any, path: Any, code: str, suggestion: str
) -> None:
    assert only(data) == (path, code, suggestion)


@pytest.mark.parametrize(
    ("data", "path", "suggestion"),
    [
        ([], (), None),
        ("currency: USD", (), None),
        (None, (), None),
        (whole(features=["api"]), ("features",), None),
        (in_plan(name=["x"]), ("plans", "p", "name"), None),
        (in_api(limits={"max": "1"}), (*API, "limits"), None),
        (in_api(limits=["100"]), (*API, "limits", 0), "{max: 100, every: hour}"),
        (in_api(overage=True), (*API, "overage"), None),
        (in_api(enforce="no"), (*API, "enforce"), "false"),
        (in_api(included=True), (*API, "included"), None),
        (in_api(included="unlimitd"), (*API, "included"), "unlimited"),
        (in_api(price="0.1", overage="charge"), (*API, "price"), "{model: per_unit, unit: 0.1}"),
        (in_plan(features={"api": "100"}), API, "{included: 100}"),
        (in_plan(features={"api": True}), API, "{included: unlimited}"),
        (in_plan(features={"api": False}), API, "null"),
        (in_plan(features={"sso": {}}), ("plans", "p", "features", "sso"), "true"),
    ],
)
def test_a_wrong_type_says_what_it_must_be(data: Any, path: Any, suggestion: str | None) -> None:
    problem = problems_of(data)[0]
    assert (problem.path, problem.code, problem.suggestion) == (path, "wrong_type", suggestion)
    assert problem.message.startswith(("must be", "api is", "sso is"))


@pytest.mark.parametrize(
    ("data", "path", "code"),
    [
        (charged(), (*API, "price"), "missing"),
        (charged(model="per_unit"), (*API, "price"), "missing"),
        (in_api(overage="charge"), API, "missing"),
        (in_api(price=PRICE), (*API, "price"), "price_unused"),
        (in_api(overage_cap={"amount": "1"}), (*API, "overage_cap"), "cap_unused"),
        (in_api(overage="allow", overage_cap={}), (*API, "overage_cap"), "missing"),
        (in_api(limits=[{"every": "hour"}]), (*API, "limits", 0), "missing"),
        (in_api(limits=[{"max": "1"}]), (*API, "limits", 0), "missing"),
        (in_api(rollover={}), (*API, "rollover"), "missing"),
        (in_plan(alerts=["80%"]), ("plans", "p", "alerts"), "alerts_unused"),
        (whole(plans={"p": None}), ("plans", "p"), "missing"),
        (whole(features={"api": None}, credits={}), ("features", "api"), "missing"),
        (whole(routes=[{"match": "*"}]), ("routes", 0), "missing"),
        (whole(credits={"coins": {}}), ("credits", "coins"), "missing"),
        ({"currency": "USD", "features": {}}, (), "missing"),
        ({"features": {}, "plans": {}}, (), "missing"),
    ],
)
def test_what_is_missing_or_has_no_use_is_named(data: Any, path: Any, code: str) -> None:
    assert only(data)[:2] == (path, code)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("ApiCalls", "api_calls"), ("api-calls", "api_calls"), ("1api", "api"), ("é", None),
     ("a" * 65, "a" * 64), ("", None), ("api calls", "api_calls"), ("a{b}", "a_b")],
)  # fmt: skip
def test_ids_are_small_letters_digits_and_underscores(name: str, suggestion: str | None) -> None:
    for section, said in (("features", {}), ("plans", {}), ("credits", {"costs": {}})):
        found = problems_of(whole(**{"credits": {}, section: {name: said}}))
        assert (found[0].path, found[0].code, found[0].suggestion) == (
            (section, name), "bad_id", suggestion)  # fmt: skip


@pytest.mark.parametrize("name", ["a", "a_1", "a" * 64])
def test_good_ids_are_taken(name: str) -> None:
    load_catalog(whole(features={name: {}}, credits={}, plans={name: {}}))


def test_plans_that_extend_each_other_are_told_the_way_round() -> None:
    found = problems_of(whole(plans={"a": {"extends": "b"}, "b": {"extends": "a"}}))
    assert [(each.path, each.code) for each in found] == [
        (("plans", "a", "extends"), "extends_cycle"),
        (("plans", "b", "extends"), "extends_cycle"),
    ]
    assert "a → b → a" in found[0].message
    assert only(whole(plans={"a": {"extends": "a"}}))[1] == "extends_cycle"


def test_a_plan_that_extends_a_plan_of_a_cycle_is_not_accused() -> None:
    plans = {"a": {"extends": "b"}, "b": {"extends": "a"}, "c": {"extends": "a"}}
    assert {each.path[1] for each in problems_of(whole(plans=plans))} == {"a", "b"}


def test_a_mistake_that_is_taken_over_is_told_once_where_it_stands() -> None:
    plans = {
        "two": {"extends": "one"},
        "one": {"features": {"api": {"included": "1.5", "overage": "charge"}}},
        "three": {"extends": "two", "price": "1"},
    }
    found = [(each.path[1], each.code) for each in problems_of(whole(plans=plans))]
    assert sorted(found) == [("one", "missing"), ("one", "too_fine")]


def test_what_goes_wrong_only_together_is_told_at_the_plan_that_puts_it_together() -> None:
    plans = {
        "one": {"features": {"api": {"reset": "hour", "align": "first_use"}}},
        "two": {"extends": "one", "features": {"api": {"reset": "month"}}},
    }
    (problem,) = problems_of(whole(plans=plans))
    assert problem.path[:2] == ("plans", "two")
    assert "taken over from plan one; null takes it away" in problem.message


@pytest.mark.parametrize(
    ("currency", "suggestion"),
    [("usd", "USD"), ("€", "EUR"), ("XXQ", None), ("Dollar", "USD")],
)
def test_currencies_are_those_of_iso_4217(currency: str, suggestion: str | None) -> None:
    assert only(whole(currency=currency)) == (("currency",), "unknown_currency", suggestion)
    where = ("plans", "p", "currency")
    assert only(in_plan(currency=currency)) == (where, "unknown_currency", suggestion)


@pytest.mark.parametrize(
    ("routes", "path", "code"),
    [
        ([{"match": "/x", "free": True}], (0, "match"), "last_route"),
        (
            [{"match": "*", "free": True}, {"match": "/x", "free": True}],
            (0, "match"),
            "route_unreachable",
        ),
        (
            [{"match": "/x", "free": True}, {"match": "/x", "feature": "api"},
             {"match": "*", "free": True}],
            (1, "match"),
            "route_unreachable",
        ),
        ([{"match": "get /x", "free": True}], (0, "match"), "bad_match"),
        ([{"match": "GET", "free": True}], (0, "match"), "bad_match"),
        ([{"match": "GET /x?y=1", "free": True}], (0, "match"), "bad_match"),
        ([{"match": "a b c", "free": True}], (0, "match"), "bad_match"),
        ([{"match": "/a*", "free": True}], (0, "match"), "bad_match"),
        ([{"match": "*", "free": True, "feature": "api"}], (0, "feature"), "free_route"),
        ([{"match": "*", "feature": "sso", "cost": "2"}], (0, "cost"), "not_for_this_type"),
        ([{"match": "*", "feature": "api", "hold": "2"}], (0, "hold"), "hold_and_capture"),
        (
            [{"match": "*", "feature": "api", "hold": "2", "capture": {"usage": {"in": "a.b"}}}],
            (0, "capture", "usage"),
            "weights_missing",
        ),
        (
            [{"match": "*", "feature": "ai", "hold": "2", "capture": {"quantity": "a b"}}],
            (0, "capture", "quantity"),
            "bad_text",
        ),
    ],
)  # fmt: skip
def test_routes_are_reachable_complete_and_make_sense(routes: Any, path: Any, code: str) -> None:
    found = [(each.path, each.code) for each in problems_of(whole(routes=routes))]
    assert (("routes", *path), code) in found


@pytest.mark.parametrize("status", ["200", "503", "399", "402.5", "x"])
def test_a_denial_has_a_status_of_the_client(status: str) -> None:
    (path, _, _) = only(whole(statuses={"limit_reached": status}))
    assert path == ("statuses", "limit_reached")


@pytest.mark.parametrize(
    "link", ["ftp://x", "example.com/{plan}", "https://x/{pln}", "https://x/{"]
)
def test_links_are_addresses_with_known_places(link: str) -> None:
    assert only(whole(links={"upgrade": link}))[:2] == (("links", "upgrade"), "bad_text")


@pytest.mark.parametrize(
    ("name", "said", "word"),
    [
        ("seats", {"reset": "month"}, "reset"),
        ("seats", {"rollover": {"max": "1"}}, "rollover"),
        ("api", {"bill": "peak"}, "bill"),
        ("coins", {"overage": "block"}, "overage"),
        ("coins", {"limits": []}, "limits"),
    ],
)
def test_words_that_mean_nothing_for_a_type_are_refused(name: str, said: Any, word: str) -> None:
    path = ("plans", "p", "features", name, word)
    assert only(in_plan(features={name: said}))[:2] == (path, "not_for_this_type")


@pytest.mark.parametrize("interval", ["week", "5 months", "7 months", "day"])
def test_a_billing_period_fits_into_the_interval(interval: str) -> None:
    data = in_plan(interval="year", usage_interval=interval)
    assert only(data)[:2] == (("plans", "p", "usage_interval"), "intervals_do_not_meet")


def test_an_addon_cannot_be_the_default_plan() -> None:
    assert only(whole(default_plan="plus"))[1] == "not_for_addons"


def test_an_id_belongs_to_a_feature_or_to_credits() -> None:
    data = whole(credits={"api": {"costs": {}}})
    assert only(data)[:2] == (("credits", "api"), "id_taken")


def test_credits_pay_only_for_what_they_have_a_cost_for() -> None:
    assert only(in_api(credits="coins"))[:2] == ((*API, "credits"), "cost_missing")


def test_all_problems_are_told_at_once() -> None:
    data = whole(
        currency="usd",
        features={"api": {"scale": "x"}, "Bad": {}},
        credits={},
        plans={"p": {"price": "1e3", "features": {"nope": {}, "api": {"overage": "chrge"}}}},
        routes=[{"match": "*"}],
    )
    codes = [each.code for each in problems_of(data)]
    assert sorted(codes) == sorted([
        "unknown_currency", "not_a_number", "bad_id", "not_a_number", "unknown_feature",
        "unknown_word", "missing",
    ])  # fmt: skip


def test_a_misspelt_name_is_not_told_as_missing_too() -> None:
    found = problems_of(charged(model="per_unit", unitt="1"))
    assert [each.code for each in found] == ["unknown_field"]


def test_a_problem_reads_as_a_sentence_with_its_path() -> None:
    (problem,) = problems_of(in_api(limits=[{"max": "1e3", "every": "hour"}]))
    assert str(problem) == (
        "plans.p.features.api.limits[0].max: must be a quantity, not '1e3'. Did you mean 1000?"
    )
    assert dotted(()) == "catalog"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("Pro", "pro"), ("pro-annual", "pro_annual"), ("proAnnual", "pro_annual"), ("zzz", None)],
)
def test_the_closest_name_is_found_through_case_and_dashes(word: str, meant: str | None) -> None:
    assert closest(word, ["free", "pro", "pro_annual"]) == meant
