"""A catalog file is read exactly, and each mistake is shown where it stands."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.catalog_file import CatalogFileInvalid, FileProblem, read_catalog
from reconciler.catalog_source import DEPTH_MAX, TEXT_MAX

GOOD = """\
currency: USD
features:
  api: {name: API calls, unit: call}
plans:
  pro:
    price: 49
    features:
      api: {included: 1_000_000, reset: hourly}
"""


def problems_of(text: str | bytes, filename: str = "catalog.yaml") -> tuple[FileProblem, ...]:
    with pytest.raises(CatalogFileInvalid) as refused:
        read_catalog(text, filename)
    return refused.value.problems


def only(text: str | bytes, filename: str = "catalog.yaml") -> FileProblem:
    (problem,) = problems_of(text, filename)
    return problem


def place(problem: FileProblem) -> tuple[int, int, int]:
    return problem.line, problem.column, problem.width


def test_a_good_file_is_read() -> None:
    assert read_catalog(GOOD).plans["pro"].features["api"].included == 1_000_000


def test_numbers_are_the_text_that_was_written() -> None:
    text = GOOD.replace("price: 49", "price: 0.1000000000000000055511151231257827021181583")
    # Forty characters are the most a number may have; a float would have kept seventeen.
    assert only(text).code == "not_a_number"
    exact = GOOD.replace("price: 49", "price: 49.10000000000000000000000001")
    assert read_catalog(exact).plans["pro"].price.amount == Decimal("49.10000000000000000000000001")


def test_names_that_look_like_numbers_stay_names() -> None:
    text = GOOD.replace("name: API calls", "name: 2024.10")
    assert read_catalog(text).features["api"].name == "2024.10"


def test_an_unknown_name_is_shown_with_line_caret_and_suggestion() -> None:
    problem = only(GOOD.replace("included", "includd"))
    assert place(problem) == (8, 13, 7)
    assert problem.suggestion == "included"
    assert problem.render() == (
        "catalog.yaml:8:13: plans.pro.features.api.includd: 'includd' is not part of what a plan says"
        " of a feature. Did you mean included?\n"
        "  8 |       api: {includd: 1_000_000, reset: hourly}\n"
        "    |             ^^^^^^^"
    )


def test_a_wrong_value_is_shown_at_the_value() -> None:
    problem = only(GOOD.replace("hourly", "hurly"))
    assert place(problem) == (8, 41, 5)


def test_something_missing_is_shown_at_the_name_of_the_map() -> None:
    problem = only(GOOD.replace("included: 1_000_000", "overage: charge"))
    assert problem.code == "missing" and place(problem) == (8, 7, 3)
    assert place(only(GOOD.replace("currency: USD", ""))) == (1, 1, 1)


def test_a_mistake_taken_over_is_shown_where_it_was_written() -> None:
    text = GOOD.replace("plans:\n", "plans:\n  two: {extends: pro}\n").replace("hourly", "30 hours")
    assert [place(problem) for problem in problems_of(text)] == [(9, 41, 8)]


def test_what_is_not_built_yet_is_refused_by_name_unless_allowed() -> None:
    text = GOOD.replace("price: 49", "spend_cap: 49")
    problem = only(text)
    assert (problem.code, *place(problem)) == ("not_supported_yet", 6, 5, 9)
    assert "spend_cap" in problem.message
    assert read_catalog(text, allow_unsupported=True).plans["pro"].plain["spend_cap"] == "49"


@pytest.mark.parametrize(
    ("written", "meant"), [("20,000", "20000"), ("1e6", "1000000"), ("$49", "49"), ("4.9e1", "49")]
)
def test_the_spelling_to_use_is_shown(written: str, meant: str) -> None:
    problem = only(GOOD.replace("price: 49", f"price: {written}"))
    assert problem.code == "not_a_number" and problem.suggestion == meant
    assert place(problem) == (6, 12, len(written))


@pytest.mark.parametrize(
    ("written", "meant"), [("20,000", "20000"), ("1,000,000", "1000000"), ("1,000.50", "1000.50")]
)
def test_a_number_that_yaml_cuts_in_two_is_put_together_again(written: str, meant: str) -> None:
    problem = only(GOOD.replace("1_000_000", written))
    assert problem.suggestion == meant and written in problem.message
    assert problem.path == ("plans", "pro", "features", "api", "included")
    assert (problem.line, problem.column) == (8, 23)


def test_a_name_that_stands_twice_is_an_error() -> None:
    problem = only(GOOD.replace("price: 49", "price: 49\n    price: 59"))
    assert problem.code == "duplicate_name" and "line 6" in problem.message
    assert place(problem) == (7, 5, 5)


def test_all_problems_come_in_the_order_of_the_file() -> None:
    text = GOOD.replace("USD", "usd").replace("49", "x").replace("unit:", "unt:")
    assert [problem.line for problem in problems_of(text)] == [1, 3, 6]
    with pytest.raises(CatalogFileInvalid) as refused:
        read_catalog(text, "a.yaml")
    assert refused.value.render().endswith("3 problems.")
    assert str(refused.value).count("a.yaml:") == 3


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("currency: [USD\nplans: {}\n", 2, 6, "':'"),
        ("currency: USD\n\tplans: {}\n", 2, 1, "tab"),
        ("currency: USD\n plans: {}\n", 2, 7, "not allowed here"),
        ("currency: 'USD\n", 2, 1, "quoted scalar"),
        ("currency: USD\nplans: *x\n", 2, 8, "undefined alias"),
        ("currency: USD\n---\nplans: {}\n", 2, 1, "one document"),
        ("currency: U\x07SD\n", 1, 12, "cannot stand here"),
    ],
)
def test_text_that_is_no_yaml_says_where(text: str, line: int, column: int, words: str) -> None:
    problem = only(text)
    assert problem.code == "bad_yaml" and words in problem.message
    assert (problem.line, problem.column) == (line, column)


@pytest.mark.parametrize("text", ["", "# nothing\n", "just text", "- a\n- b\n", "42", "null"])
def test_a_file_that_is_no_map_is_refused(text: str) -> None:
    assert only(text).code == "wrong_type"


def test_a_file_that_is_not_utf8_says_where() -> None:
    problem = only(b"currency: USD\nplans: \xff\n")
    assert problem.code == "not_utf8" and (problem.line, problem.column) == (2, 8)


def test_bytes_and_windows_line_ends_and_byte_order_marks_are_read() -> None:
    encoded = ("\ufeff" + GOOD.replace("\n", "\r\n")).encode()
    assert read_catalog(encoded) == read_catalog(GOOD)
    wrong = GOOD.replace("price: 49", "price: x").replace("\n", "\r\n")
    assert only(wrong).source_line == "    price: x"


def test_tags_and_merge_keys_are_refused() -> None:
    tagged = only(GOOD.replace("price: 49", "price: !!python/object:os.system 49"))
    assert tagged.code == "bad_tag"
    merged = GOOD.replace("price: 49", "<<: {price: 49}")
    assert "extends" in only(merged).message


def test_aliases_repeat_what_they_name() -> None:
    text = GOOD.replace("{included: 1_000_000, reset: hourly}", "&api {included: 5}")
    text += "  two: {features: {api: *api}}\n"
    assert read_catalog(text).plans["two"].features["api"].included == 5


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert only("\n".join(lines)).code == "too_large"
    assert only("a: &a [*a]").code == "too_large"


def test_depth_and_size_are_bounded() -> None:
    assert only("[" * (DEPTH_MAX + 2) + "]" * (DEPTH_MAX + 2)).code == "too_large"
    assert only("[" * 1500 + "]" * 1500).code == "too_deep"
    assert only('{"a":' * 100_000, "catalog.json").code in ("too_deep", "bad_json")
    assert only("#" * (TEXT_MAX + 1)).code == "too_large"


def test_json_is_read_with_the_same_places() -> None:
    text = json.dumps(
        {"currency": "USD", "features": {"a\u00e9": {}}, "plans": {"p": {"price": 1}}}, indent=1
    )
    problem = only(text, "catalog.json")
    assert problem.code == "bad_id" and place(problem) == (4, 3, len('"a\\u00e9"'))
    good = '{"currency": "USD", "features": {}, "plans": {"p": {"price": 49.10, "addon": false}}}'
    assert read_catalog(good).plans["p"].price.amount == Decimal("49.10")


@pytest.mark.parametrize(
    ("text", "line", "column", "code"),
    [
        ('{"currency": "USD",}', 1, 20, "bad_json"),
        ('{"currency":\n "USD"', 2, 7, "bad_json"),
        ('{"currency": NaN}', 1, 1, "bad_json"),
        ('{"currency": "USD", "features": {}, "plans": {"p": {"price": 1e3}}}', 1, 62, "not_a_number"),
        ('{"currency": "USD", "features": {}, "plans": {}, "plans": {}}', 1, 50, "duplicate_name"),
        ('{"currency": "USD", "features": {}, "plans": [1, {"a": 2}]}', 1, 37, "wrong_type"),
    ],
)  # fmt: skip
def test_mistakes_in_json_say_where(text: str, line: int, column: int, code: str) -> None:
    problem = only(text, "catalog.json")
    assert (problem.line, problem.column, problem.code) == (line, column, code)


def test_yaml_that_begins_with_a_brace_is_yaml() -> None:
    assert read_catalog("{currency: USD, features: {}, plans: {p: {}}}").plans["p"].id == "p"


def test_a_problem_is_plain_for_http() -> None:
    plain = only(GOOD.replace("price: 49", "price: 1e3")).to_plain()
    assert plain == {
        "pointer": "/plans/pro/price", "code": "not_a_number", "line": 6, "column": 12,
        "detail": "must be an amount of money, not '1e3'.", "suggestion": "1000",
    }  # fmt: skip


def test_a_long_line_is_shown_around_the_caret() -> None:
    text = GOOD.replace("unit: call", "unit: '" + "x" * 400 + "', unt: 1")
    line, shown, caret = only(text).render().split("\n")
    assert line.startswith("catalog.yaml:3:") and len(shown) < 200
    start = caret.index("^")
    assert shown[start : start + 3] == "unt" and caret.count("^") == 3


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, len(GOOD)), gone=st.integers(0, 6), text=st.text(max_size=6))
def test_whatever_is_written_is_read_or_refused_at_a_place(at: int, gone: int, text: str) -> None:
    broken = GOOD[:at] + text + GOOD[at + gone :]
    try:
        read_catalog(broken)
    except CatalogFileInvalid as refused:
        for problem in refused.problems:
            assert problem.line >= 1 and problem.column >= 1 and problem.render()
