"""Prices that tests share: one of each model, and any at random."""

from decimal import Decimal

from hypothesis import strategies as st

from gateway.pricing.price import Price

TIERS = [
    {"up_to": "10", "unit": "10", "flat": "2"},
    {"up_to": "20", "unit": "5", "flat": "3"},
    {"unit": "1"},
]
FLAT = {"model": "flat", "amount": "49"}
PER_UNIT = {"model": "per_unit", "unit": "0.004"}
PACKAGE = {"model": "package", "size": "100", "amount": "3"}
GRADUATED = {"model": "graduated", "tiers": TIERS}
VOLUME = {"model": "volume", "tiers": TIERS}
PERCENT = {"model": "percentage", "rate": "2.9", "fixed": "0.3"}
GRADUATED_PERCENT = {
    "model": "graduated_percentage",
    "tiers": [{"up_to": "1000", "rate": "2", "flat": "1"}, {"rate": "1.5", "flat": "2"}],
}


def decimals(places: int, most: int) -> st.SearchStrategy[Decimal]:
    return st.integers(0, most * 10**places).map(lambda number: Decimal(number).scaleb(-places))


@st.composite
def tiers(draw: st.DrawFn, each: str) -> list[dict[str, str]]:
    ends = sorted(draw(st.sets(st.integers(1, 5_000), max_size=4)))
    plain = [{"up_to": str(end)} for end in ends] + [{}]
    for tier in plain:
        tier[each] = format(draw(decimals(4, 20)), "f")
        tier["flat"] = format(draw(decimals(2, 50)), "f")
    return plain


PRICES = st.one_of(
    st.builds(lambda amount: {"model": "flat", "amount": format(amount, "f")}, decimals(3, 100)),
    st.builds(lambda unit: {"model": "per_unit", "unit": format(unit, "f")}, decimals(6, 20)),
    st.builds(
        lambda size, amount, way: {
            "model": "package", "size": str(size), "amount": format(amount, "f"), "round": way,
        },
        st.integers(1, 500), decimals(2, 100), st.sampled_from(["up", "down"]),
    ),
    st.builds(lambda listed: {"model": "graduated", "tiers": listed}, tiers("unit")),
    st.builds(lambda listed: {"model": "volume", "tiers": listed}, tiers("unit")),
    st.builds(lambda listed: {"model": "graduated_percentage", "tiers": listed}, tiers("rate")),
).map(Price.from_plain)  # fmt: skip
