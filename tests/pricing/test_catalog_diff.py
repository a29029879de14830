"""A diff tells what changes in meaning, and for which plan."""

from gateway.pricing.catalog_diff import diff_catalogs
from reconciler.catalog_file import read_catalog

OLD = """
currency: USD
features: {api: {name: API}, sso: {type: boolean}}
plans:
  free: {features: {api: {included: 100, reset: hour}}}
  pro:
    price: 49
    features:
      api: {included: 1000, limits: [{max: 10, every: minute}], overage: charge, price: {model: per_unit, unit: 0.1}}
  old: {}
routes: [{match: "*", feature: api}]
"""


def told(new: str) -> list[str]:
    return [str(change) for change in diff_catalogs(read_catalog(OLD), read_catalog(new))]


def test_spelling_and_defaults_are_no_difference() -> None:
    assert told(OLD) == []
    new = OLD.replace("reset: hour", "reset: hourly, align: calendar, overage: block")
    new = new.replace("price: 49", "price: 49.00\n    interval: month\n    name: Pro")
    assert told(new.replace("old: {}", "old: {price: 0, currency: USD}")) == []


def test_every_change_names_what_was_and_what_will_be() -> None:
    new = (
        OLD.replace("included: 100,", "included: 150,")
        .replace("price: 49", "price: {model: per_unit, unit: 49}")
        .replace("max: 10,", "max: 20,")
        .replace("unit: 0.1", "unit: 0.05")
        .replace("old: {}", "new: {features: {sso: true}}")
        .replace('{match: "*", feature', '{match: "*", cost: 2, feature')
    )
    assert told(new) == [
        "~ plans.free.features.api.included: 100 → 150",
        "~ plans.pro.price.model: flat → per_unit",
        "+ plans.pro.price.unit: 49",
        "- plans.pro.price.amount: 49",
        "~ plans.pro.features.api.limits.minute.max: 10 → 20",
        "~ plans.pro.features.api.price.unit: 0.1 → 0.05",
        "+ plans.new: {features: {sso: true}, name: New, currency: USD,"
        " price: {model: flat, amount: 0}, interval: month, usage_interval: month}",
        "- plans.old: {name: Old, currency: USD, price: {model: flat, amount: 0}, interval: month,"
        " usage_interval: month, features: {}}",
        "~ routes: [{match: *, feature: api}] → [{match: *, cost: 2, feature: api}]",
    ]


def test_a_change_knows_its_plan_and_is_plain_for_json() -> None:
    (change,) = diff_catalogs(
        read_catalog(OLD), read_catalog(OLD.replace("price: 49", "price: 59"))
    )
    assert change.plan == "pro"
    assert change.to_plain() == {
        "path": "plans.pro.price.amount", "kind": "changed", "before": "49", "after": "59",
        "plan": "pro"}  # fmt: skip
    (renamed,) = diff_catalogs(read_catalog(OLD), read_catalog(OLD.replace("name: API", "name: A")))
    assert renamed.plan is None


def test_a_derived_plan_shows_what_it_takes_over() -> None:
    derived = OLD.replace("old: {}", "old: {}\n  two: {extends: pro, price: 5}")
    changed = derived.replace("included: 1000", "included: 2000")
    changes = diff_catalogs(read_catalog(derived), read_catalog(changed))
    assert [change.plan for change in changes] == ["pro", "two"]
