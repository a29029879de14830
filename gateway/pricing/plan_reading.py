"""Reads a plan, `extends` already resolved, and says everything that is wrong with it."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from gateway.pricing.catalog_problem import Path, Problems
from gateway.pricing.currency import minor_digits
from gateway.pricing.feature import Definitions, spoken
from gateway.pricing.money import INTEGER_MAX
from gateway.pricing.plan import Plan, PlanFeature, default_usage_interval, fits_wholly
from gateway.pricing.plan_feature_reading import read_plan_feature
from gateway.pricing.price import Price, PriceInvalid
from gateway.pricing.window import Span

Place = Callable[[Path], Path]
"""Where a value that a plan took over was written."""


class PlanReader:
    """One plan being read: what it may refer to, where it stands, and what was wrong so far."""

    def __init__(self, definitions: Definitions, problems: Problems, place: Place) -> None:
        self.definitions = definitions
        self._problems = problems
        self._place = place

    def report(
        self, path: Path, code: str, message: str, suggestion: str | None = None, **at: bool
    ) -> None:
        """Report a problem where it was written, once, unless the value is wrong in itself.

        Plans are read after those they extend. What was right there, and is wrong together with what this plan
        says, is a problem of this plan.
        """
        where = self._place(path)
        if self._problems.at(where):
            return
        if where != path:
            message += f" It is taken over from plan {where[1]}; null takes it away."
        self._problems.add(path, code, message, suggestion, **at)

    def unknown(self, path: Path, code: str, what: str, word: str, known: Any) -> None:
        """Report a name that is not among the known ones."""
        self._problems.unknown(self._place(path), code, what, word, known)

    def missing(self, path: Path, name: str, message: str) -> None:
        """Report something left out of the map at `path`."""
        if not self._problems.at(self._place((*path, name))):
            where = self._place(path)
            if not self._problems.misspelt(where, name):
                self._problems.add(where, "missing", message)

    def quantity(self, text: Any, scale: int, path: Path) -> int:
        """A quantity in base units; 0 once it is reported."""
        return base_units(text, scale, path, self.report)

    def price(self, plain: Any, path: Path) -> Price | None:
        """A price with all its problems, or None."""
        if not isinstance(plain, Mapping):
            plain = {"model": "flat", "amount": plain}
        try:
            return Price.from_plain(plain)
        except PriceInvalid as invalid:
            for problem in invalid.problems:
                self._price_problem((*path, *problem.path), problem.code, problem.message)
            return None

    def _price_problem(self, path: Path, code: str, message: str) -> None:
        text = f"{message}."
        if code == "missing" and isinstance(path[-1], str):
            self.missing(path[:-1], path[-1], text)
        else:
            self.report(path, code, text, at_name=code == "unknown_name")


def base_units(text: Any, scale: int, path: Path, report: Callable[..., None]) -> int:
    """A decimal text in base units of the scale; what does not fit is reported and read as 0."""
    base = Fraction(str(text)) * 10**scale
    if base.denominator != 1:
        digits = len(str(text).partition(".")[2])
        finest = "whole numbers only" if scale == 0 else f"at most {scale} decimals"
        report(path, "too_fine", f"{text} is finer than scale {scale}, which has {finest}; "
               f"raise scale to {digits} or round it.")  # fmt: skip
        return 0
    if base > INTEGER_MAX:
        most = INTEGER_MAX // 10**scale
        report(path, "too_large", f"must be at most {most:,} at scale {scale}, not {text}.")
        return 0
    return int(base)


def read_plan(plan: str, plain: Mapping[str, Any], path: Path, reader: PlanReader) -> Plan:
    """The plan; a part whose problem is reported has its default."""
    currency = plain.get("currency", reader.definitions.currency)
    if "currency" in plain:
        check_currency(currency, (*path, "currency"), reader.report)
    interval = Span.parse(plain.get("interval", "month"))
    usage_interval = _usage_interval(plain, interval, path, reader)
    _check_trial(plain, path, reader)
    if "alerts" in plain and "spend_cap" not in plain:
        reader.report((*path, "alerts"), "alerts_unused",
                      "are thresholds of spend_cap, which this plan does not have.")  # fmt: skip
    price = _plan_price(plain, path, reader)
    features = _features(plain.get("features", {}), (*path, "features"), reader)
    return Plan(
        id=plan,
        name=plain.get("name", spoken(plan)),
        currency=currency,
        price=price,
        interval=interval,
        usage_interval=usage_interval,
        features=features,
        addon=plain.get("addon", False),
        plain=plain,
    )


def check_currency(currency: str, path: Path, report: Callable[..., None]) -> None:
    """Report a currency that ISO 4217 does not know."""
    try:
        minor_digits(currency)
    except ValueError as error:
        report(path, "unknown_currency", f"{error}.", _proper_currency(currency))


def _proper_currency(currency: str) -> str | None:
    also = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "EURO": "EUR", "DOLLAR": "USD"}
    meant = also.get(currency.upper(), currency.upper())
    try:
        minor_digits(meant)
    except ValueError:
        return None
    return meant


def _usage_interval(
    plain: Mapping[str, Any], interval: Span, path: Path, reader: PlanReader
) -> Span:
    if "usage_interval" not in plain:
        return default_usage_interval(interval)
    usage_interval = Span.parse(plain["usage_interval"])
    if not fits_wholly(usage_interval, interval):
        reader.report(
            (*path, "usage_interval"),
            "intervals_do_not_meet",
            f"must fit a whole number of times into the interval: {usage_interval} does not"
            f" divide {interval}.",
        )
    return usage_interval


def _check_trial(plain: Mapping[str, Any], path: Path, reader: PlanReader) -> None:
    follows = plain.get("trial", {}).get("then", "pay")
    known = ("pay", "end", *reader.definitions.plans)
    if follows not in known:
        reader.unknown((*path, "trial", "then"), "unknown_plan", "plan", follows, known)


def _plan_price(plain: Mapping[str, Any], path: Path, reader: PlanReader) -> Price:
    where = (*path, "price")
    price = reader.price(plain.get("price", "0"), where)
    if price is not None and price.model in ("percentage", "graduated_percentage"):
        reader.report((*where, "model"), "wrong_model",
                      "a plan is priced on the subscription's quantity, which is no money to take"
                      " a percentage of.")  # fmt: skip
        price = None
    return price if price is not None else Price(model="flat")


def _features(plain: Mapping[str, Any], path: Path, reader: PlanReader) -> dict[str, PlanFeature]:
    defined = reader.definitions
    features: dict[str, PlanFeature] = {}
    for name, said in plain.items():
        here = (*path, name)
        if name not in defined.features and name not in defined.credits:
            known = (*defined.features, *defined.credits)
            reader.unknown(here, "unknown_feature", "feature", name, known)
            continue
        feature = read_plan_feature(name, said, here, reader)
        if feature is not None:
            features[name] = feature
    _check_limit_names(features, path, reader)
    return features


def _check_limit_names(features: Mapping[str, PlanFeature], path: Path, reader: PlanReader) -> None:
    """Answers, headers and metrics tell limits apart by name."""
    owners: dict[str, str] = {f"{name}.included": name for name in features}
    for feature in features.values():
        for limit in feature.limits:
            if limit.name in owners:
                reader.report(
                    (*path, feature.feature, "limits"),
                    "limit_name_taken",
                    f"two windows are called {limit.name}; give one of them a name.",
                )
            owners[limit.name] = feature.feature
