from tests.reconciler.control.plane import CATALOG, Plane


def test_a_pushed_catalog_is_live_and_known_to_redis(plane: Plane) -> None:
    pushed = plane.push()
    assert (pushed["version"], pushed["created"], pushed["applied"]) == (1, True, True)
    live = plane.ok("GET", "/v1/catalog")
    assert live["version"] == 1
    assert live["source"] == CATALOG
    assert plane.redis.hget("tg:catalog", "version") == b"1"


def test_the_same_catalog_pushed_again_keeps_its_version(plane: Plane) -> None:
    plane.push()
    again = plane.push(CATALOG + "\n# a comment changes nothing\n")
    assert (again["version"], again["created"]) == (1, False)


def test_an_earlier_catalog_can_be_made_live_again(plane: Plane) -> None:
    plane.push()
    plane.push(CATALOG.replace("price: 49", "price: 59"))
    back = plane.push()
    assert (back["version"], back["created"]) == (1, False)
    assert plane.ok("GET", "/v1/catalog")["version"] == 1
    assert plane.ok("GET", "/v1/catalog/2")["live"] is False


def test_every_error_of_a_catalog_is_listed_with_its_line(plane: Plane) -> None:
    wrong = CATALOG.replace("included: 100", "inclded: 100").replace("price: 49", "price: 4,9")
    answer = plane.ask("PUT", "/v1/catalog", wrong, content_type="application/yaml")
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    places = {(each["line"], each["code"]) for each in answer.body["errors"]}
    assert {line for line, _ in places} >= {7, 10}
    assert any(each.get("suggestion") == "included" for each in answer.body["errors"])


def test_a_json_catalog_is_read_too(plane: Plane) -> None:
    body = {"currency": "USD", "features": {"x": {"unit": "u"}}, "plans": {"p": {"name": "P"}}}
    assert plane.ok("PUT", "/v1/catalog", body)["version"] == 1


def test_what_is_not_built_yet_is_refused_by_name(plane: Plane) -> None:
    later = CATALOG + "default_plan: free\n"
    answer = plane.ask("PUT", "/v1/catalog", later, content_type="application/yaml")
    assert answer.status == 422
    assert answer.body["code"] == "not_supported_yet"
    assert "default_plan" in answer.body["detail"]


def test_renewal_moves_a_subscription_at_its_next_billing_period(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    pushed = plane.push(CATALOG.replace("price: 49", "price: 59"))
    assert (pushed["moved"], pushed["done"]) == (1, True)
    subscription = plane.ok("GET", "/v1/customers/acme/subscription")
    assert subscription["catalog"] == 1
    assert subscription["next"] == {
        "startsAt": subscription["period"]["end"],
        "plan": "pro",
        "catalog": 2,
    }
    plane.advance("32 days")
    renewed = plane.ok("GET", "/v1/customers/acme/subscription")
    assert (renewed["catalog"], renewed["startsAt"]) == (2, subscription["startsAt"])


def test_a_second_push_before_the_renewal_takes_the_place_of_the_first(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.push(CATALOG.replace("price: 49", "price: 59"))
    plane.push(CATALOG.replace("price: 49", "price: 69"))
    assert plane.ok("GET", "/v1/customers/acme/subscription")["next"]["catalog"] == 3


def test_now_moves_a_subscription_at_once_and_keep_never(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    assert plane.push(CATALOG.replace("price: 49", "price: 59"), "keep")["moved"] == 0
    assert plane.ok("GET", "/v1/customers/acme/subscription")["catalog"] == 1
    assert plane.push(CATALOG.replace("price: 49", "price: 69"), "now")["moved"] == 1
    assert plane.ok("GET", "/v1/customers/acme/subscription")["catalog"] == 3


def test_new_subscriptions_get_the_new_version_at_once(plane: Plane) -> None:
    plane.push()
    plane.push(CATALOG.replace("price: 49", "price: 59"), "keep")
    assert plane.subscribe("acme")["catalog"] == 2


def test_a_plan_in_use_cannot_be_taken_away_from_its_customers(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme", "yearly")
    without = CATALOG.replace("  yearly: {extends: pro, price: 490, interval: year}\n", "")
    answer = plane.ask("PUT", "/v1/catalog", without, content_type="application/yaml")
    assert (answer.status, answer.body["code"]) == (422, "plan_in_use")
    assert plane.push(without, "keep")["version"] == 2


def test_a_feature_never_changes_its_scale(plane: Plane) -> None:
    plane.push()
    other = CATALOG.replace("scale: 6", "scale: 3")
    answer = plane.ask("PUT", "/v1/catalog", other, content_type="application/yaml")
    assert (answer.status, answer.body["code"]) == (422, "scale_changed")


def test_a_dry_run_counts_the_customers_each_choice_touches(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    dearer = CATALOG.replace("price: 49", "price: 59")
    said = plane.ok("PUT", "/v1/catalog?dryRun=true", dearer, content_type="application/yaml")
    assert said["touches"] == {"renewal": 1, "now": 1, "keep": 0}
    assert plane.ok("GET", "/v1/catalog")["version"] == 1


def test_yaml_under_another_media_type_is_415(plane: Plane) -> None:
    assert plane.ask("PUT", "/v1/catalog", CATALOG, content_type="text/csv").status == 415
