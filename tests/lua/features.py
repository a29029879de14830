"""Random features, small enough that their edges are met often."""

from hypothesis import strategies as st

from gateway.pricing.entitlement import FeatureEntitlement
from gateway.pricing.price import Price
from gateway.pricing.window import Span
from tests.lua.calls import feature, limit

SPANS = ["minute", "hour", "5 hours", "day", "week", "month", "3 months", "year"]
FIXED = ["minute", "hour", "5 hours", "day"]

prices = st.one_of(
    st.integers(0, 10**7).map(
        lambda n: Price.from_plain({"model": "per_unit", "unit": f"0.{n:09d}"})
    ),
    st.tuples(st.integers(1, 20), st.integers(0, 999), st.integers(0, 999), st.integers(0, 9)).map(
        lambda t: Price.from_plain(
            {
                "model": "graduated",
                "tiers": [
                    {"up_to": str(t[0]), "unit": f"0.{t[1]:03d}", "flat": str(t[3])},
                    {"unit": f"0.{t[2]:03d}", "flat": "1"},
                ],
            }
        )
    ),
    st.tuples(st.integers(1, 20), st.integers(0, 999), st.integers(0, 999)).map(
        lambda t: Price.from_plain(
            {
                "model": "volume",
                "tiers": [{"up_to": str(t[0]), "unit": f"0.{t[1]:03d}"}, {"unit": f"0.{t[2]:03d}"}],
            }
        )
    ),
    st.tuples(st.integers(1, 9), st.sampled_from(["up", "down"])).map(
        lambda t: Price.from_plain(
            {"model": "package", "size": str(t[0]), "amount": "0.7", "round": t[1]}
        )
    ),
)


mostly = st.sampled_from([True, True, True, False])


@st.composite
def features(draw: st.DrawFn) -> FeatureEntitlement:
    limits = draw(
        st.lists(
            st.tuples(st.sampled_from(FIXED), st.integers(0, 12), st.booleans(), mostly),
            max_size=3,
        )
    )
    first_use = draw(st.booleans())
    overage = draw(st.sampled_from(["block", "charge", "allow"]))
    span = draw(st.sampled_from(FIXED if first_use else [*SPANS, "period", "never"]))
    anchored = span in ("month", "3 months", "year", "period", "never") or draw(st.booleans())
    align = "first_use" if first_use else "anchor" if anchored else "calendar"
    return feature(
        included=draw(st.none() | st.integers(0, 12)),
        reset=Span.parse(span),
        align=align,
        limits=tuple(
            limit(most, every, "anchor" if anchor else "calendar", enforce=enforce, name=f"l{i}")
            for i, (every, most, anchor, enforce) in enumerate(limits)
        ),
        overage=overage,
        price=draw(prices) if overage == "charge" else None,
        enforce=draw(mostly),
    )
