"""The grammar of the catalog: every name it may hold, with its kind and a sentence about it.

This is the one place that lists them. Reading, suggestions and the JSON Schema for editors all come from it;
what depends on several values together is checked in `plan.py` and `catalog_rules.py`.
"""

import re
from decimal import Decimal
from typing import Any

from gateway.pricing.catalog_kinds import Either, Items, Named, Shape
from gateway.pricing.catalog_problem import Path, Problems
from gateway.pricing.catalog_scalars import (
    INVALID,
    Choice,
    Flag,
    Length,
    Number,
    Percent,
    Text,
    wrong_type,
)
from gateway.pricing.money import SCALE_MAX
from gateway.pricing.price import MODELS, TIERS_MAX
from gateway.pricing.routes import parse_match

MONEY_MAX = Decimal(9_000_000)
"""The most money of one customer and period: at 9 decimals it still fits below 2^53."""
LIMITS_MAX = 16
"""Limits of one feature in one plan; the deciding script walks all of them."""
ALERTS_MAX = 16
ENTITIES_MAX = 8
BODY_PATH = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+|\[[0-9]{1,3}\]){0,15}")

TEXT = Text()
FLAG = Flag()
QUANTITY = Number(wants="a quantity")
MONEY = Number(wants="an amount of money", most=MONEY_MAX)
SPAN = Length()
RESET = Length(wants="a span such as hour, 5 hours or month, period or never", open_ended=True)
FEATURE_ID = Text(wants="the id of a feature")
CREDITS_ID = Text(wants="the id of a credit system")
ENTITY_ID = Text(wants="the name of an entity")
PLAN_ID = Text(wants="the id of a plan")
LABEL = Text(
    wants="letters, digits, _, - and ., a letter first, at most 64",
    pattern=re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}"),
)
WORD = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,99}")
WORD_IS = 'letters, digits and . _ - : / @, at most 100, or "*"'


class _Match:
    """The text of a route's `match`."""

    wants = 'text like "GET /v1/search" or "*"'

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, str):
            return wrong_type(self, value, path, problems)
        try:
            parse_match(value)
        except ValueError as error:
            problems.add(path, "bad_match", f"{error}.")
            return INVALID
        return " ".join(value.split())

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "examples": ["POST /v1/search", "GET /v1/items/*", "*"]}


def _price_hint(value: Any) -> str | None:
    return f"{{model: per_unit, unit: {value}}}" if str(value)[:1].isdigit() else None


def _included_hint(value: Any) -> str | None:
    return f"{{included: {value}}}" if str(value)[:1].isdigit() or value == "unlimited" else None


def _span_hint(value: Any) -> str | None:
    return f"{{max: {value}, every: hour}}" if str(value)[:1].isdigit() else None


TIER = Shape(
    wants="a tier",
    fields={
        "up_to": (QUANTITY, "The quantity at which the tier ends, inclusive; the last has none."),
        "unit": (MONEY, "Money for each unit in the tier."),
        "flat": (MONEY, "Money owed once the tier is entered."),
        "rate": (Number(wants="a percentage, without %"), "Percent, in graduated_percentage."),
    },
    also={"upto": "up_to", "to": "up_to", "unit_amount": "unit", "unit_price": "unit",
          "price": "unit", "flat_amount": "flat", "percentage": "rate"},
)  # fmt: skip

PRICE = Shape(
    wants="a price",
    hint=_price_hint,
    fields={
        "model": (Choice(words=MODELS, also={"tiered": "graduated", "unit": "per_unit"}),
                  "How money follows from the quantity."),
        "amount": (MONEY, "Money: of a flat price, or of one package."),
        "unit": (MONEY, "Money for each unit, per_unit."),
        "size": (Number(wants="a quantity", above_zero=True), "Units in one package."),
        "round": (Choice(words=("up", "down")), "Whether a package begun is paid; default up."),
        "tiers": (Items(of=TIER, most=TIERS_MAX), "Tiers, ascending; the last without up_to."),
        "zero_flat": (FLAG, "Owe the first tier's flat even when nothing is used."),
        "always": (FLAG, "Owe a flat price even when nothing is used."),
        "rate": (Number(wants="a percentage, without %"), "Percent of an amount of money."),
        "fixed": (MONEY, "Money for each event of a percentage price."),
        "free_quantity": (QUANTITY, "Quantity that a percentage price leaves free."),
        "free_events": (Number(wants="a whole number", whole=True), "Events left free."),
        "min": (MONEY, "Least money for one event of a percentage price."),
        "max": (MONEY, "Most money for one event of a percentage price."),
    },
    also={"type": "model", "price": "amount", "unit_amount": "unit", "unit_price": "unit",
          "package_size": "size", "minimum": "min", "maximum": "max"},
)  # fmt: skip

LIMIT = Shape(
    wants="a limit",
    hint=_span_hint,
    fields={
        "max": (QUANTITY, "The most that may be used in one window."),
        "every": (RESET, "The length of the window."),
        "align": (Choice(words=("calendar", "anchor", "first_use")), "Where windows begin."),
        "per": (ENTITY_ID, "The entity below the customer that each has this limit."),
        "sliding": (FLAG, "The window ends now and moves, in 60 slices."),
        "concurrent": (FLAG, "The most holds that may be open at once; has no every."),
        "name": (LABEL, "Its name in answers; default feature and span, as api_calls.hour."),
        "enforce": (FLAG, "false: count and report, deny nothing."),
    },
    required=("max",),
    also={"limit": "max", "quantity": "max", "count": "max", "window": "every", "reset": "every",
          "interval": "every", "span": "every", "entity": "per", "id": "name"},
)  # fmt: skip

PLAN_FEATURE = Shape(
    wants="what a plan says of a feature",
    hint=_included_hint,
    fields={
        "included": (
            Either(
                wants="a number, unlimited or {each: number}",
                text=QUANTITY,
                words=("unlimited",),
                mapping=Shape(wants="{each: number}", fields={
                    "each": (QUANTITY, "For each unit of the subscription's quantity."),
                }, required=("each",)),
            ),
            "What is paid for by the plan, in every window of reset; default 0.",
        ),
        "reset": (RESET, "How often the included quantity starts anew; default period."),
        "align": (Choice(words=("calendar", "anchor", "first_use")),
                  "Where windows begin; default calendar up to a week, anchor from a month."),
        "rollover": (Shape(wants="{max: number}", fields={
            "max": (QUANTITY, "The most that is carried into the next window."),
        }, required=("max",)), "Carry what is left into the next window."),
        "limits": (Items(of=LIMIT, most=LIMITS_MAX), "Ceilings, each in its own window."),
        "overage": (Choice(words=("block", "charge", "allow"),
                           also={"bill": "charge", "deny": "block", "true": "charge"}),
                    "What happens beyond the included quantity; default block."),
        "price": (PRICE, "What overage costs, over the whole billing period."),
        "overage_cap": (Shape(wants="{quantity: number, amount: money}", fields={
            "quantity": (QUANTITY, "The most overage in a billing period."),
            "amount": (MONEY, "The most money for overage in a billing period."),
        }), "Where overage ends."),
        "credits": (CREDITS_ID, "The credit system that pays for the feature."),
        "alerts": (Items(of=Percent(), most=ALERTS_MAX), "Thresholds of the included quantity."),
        "on_outage": (
            Either(
                wants="closed, open or {bounded: number}",
                words=("bounded", "closed", "open"),
                mapping=Shape(wants="{bounded: number}", fields={
                    "bounded": (QUANTITY, "What each gateway may allow by itself."),
                }, required=("bounded",)),
            ),
            "What happens while Redis cannot answer; default bounded.",
        ),
        "require": (Items(of=ENTITY_ID, most=ENTITIES_MAX), "Entities every request must name."),
        "enforce": (FLAG, "false: count and report, deny nothing."),
        "bill": (Choice(words=("mean", "peak")), "What of an allocated feature is billed."),
    },
    also={"include": "included", "quota": "included", "allowance": "included", "free": "included",
          "amount": "included", "quantity": "included", "limit": "limits", "rate_limit": "limits",
          "every": "reset", "interval": "reset", "period": "reset", "window": "reset",
          "cap": "overage_cap", "prices": "price", "alert": "alerts", "rate_limits": "limits"},
)  # fmt: skip

PLAN = Shape(
    wants="a plan",
    fields={
        "name": (TEXT, "What people call it."),
        "extends": (PLAN_ID, "The plan whose values it takes over, name by name."),
        "addon": (FLAG, "It is bought beside a plan, any number of times."),
        "currency": (TEXT, "Currency of its prices, ISO 4217; default the catalog's."),
        "price": (
            Either(wants="an amount of money or a price", text=MONEY, mapping=PRICE),
            "What it costs per interval, in advance; default 0.",
        ),
        "interval": (SPAN, "How often its price is due; default month."),
        "usage_interval": (SPAN, "The billing period; default the interval, a month for a year."),
        "trial": (Shape(wants="{for: span, then: pay}", fields={
            "for": (SPAN, "How long it costs nothing."),
            "then": (TEXT, "pay, end, or the plan that follows."),
        }, required=("for",)), "A time at the beginning that costs nothing."),
        "features": (
            Named(of=Either(wants="true, false or a map", flag=True, mapping=PLAN_FEATURE,
                            text=PLAN_FEATURE)),
            "What it says of each feature, and of each credit system it grants.",
        ),
        "spend_cap": (MONEY, "The most money for usage in a billing period."),
        "alerts": (Items(of=Percent(), most=ALERTS_MAX), "Thresholds of spend_cap."),
        "minimum": (MONEY, "The least money for usage in a billing period."),
        "maximum": (MONEY, "The most money on the usage of a billing period."),
        "discount": (Shape(wants="{percent: number}", fields={
            "percent": (Number(wants="a percentage, without %", most=Decimal(100)), "Percent."),
        }, required=("percent",)), "Taken off the usage of every billing period."),
    },
    also={"title": "name", "parent": "extends", "extend": "extends", "base": "extends",
          "inherits": "extends", "amount": "price", "period": "interval", "cycle": "interval",
          "billing_period": "usage_interval", "billing_interval": "interval", "cap": "spend_cap",
          "add_on": "addon", "entitlements": "features", "min": "minimum", "max": "maximum"},
)  # fmt: skip

FEATURE = Shape(
    wants="a feature",
    fields={
        "name": (TEXT, "What people call it; default its id."),
        "unit": (TEXT, "One of it, as call or GB; default unit."),
        "type": (Choice(words=("metered", "boolean", "allocated"),
                        also={"flag": "boolean", "bool": "boolean", "static": "boolean",
                              "switch": "boolean", "counter": "metered", "usage": "metered",
                              "level": "allocated", "seats": "allocated", "gauge": "allocated"}),
                 "metered is used up, boolean is there or not, allocated is held; default metered."),
        "scale": (Number(wants=f"a whole number up to {SCALE_MAX}", whole=True,
                         most=Decimal(SCALE_MAX)), "Decimals of its quantities; default 0."),
        "weights": (
            Named(name=WORD, name_is=WORD_IS,
                  of=Named(name=WORD, name_is=WORD_IS, of=Number(wants="a weight"))),
            'What one of each kind of usage counts, by variant; "*" is every other variant.',
        ),
    },
    also={"title": "name", "display_name": "name", "units": "unit", "kind": "type",
          "precision": "scale", "decimals": "scale", "weight": "weights"},
)  # fmt: skip

CREDITS = Shape(
    wants="a credit system",
    fields={
        "name": (TEXT, "What people call it; default its id."),
        "scale": FEATURE.fields["scale"],
        "costs": (Named(of=Number(wants="a number of credits")), "Credits for one unit of each feature."),
    },
    required=("costs",),
    also={"cost": "costs", "title": "name", "precision": "scale"},
)  # fmt: skip

PACK = Shape(
    wants="a pack",
    fields={
        "name": (TEXT, "What people call it; default its id."),
        "credits": (CREDITS_ID, "The credit system it fills."),
        "quantity": (Number(wants="a number of credits", above_zero=True), "Credits in it."),
        "price": (MONEY, "What it costs."),
        "currency": (TEXT, "Currency of its price; default the catalog's."),
        "expires": (Length(open_ended=True), "How long its credits last; default never."),
    },
    required=("credits", "quantity", "price"),
    also={"amount": "price", "size": "quantity", "credit": "credits", "expiry": "expires",
          "expires_in": "expires", "valid_for": "expires"},
)  # fmt: skip

_BODY = Text(wants="a path into the response, as usage.prompt_tokens", pattern=BODY_PATH)

ROUTE = Shape(
    wants="a route",
    fields={
        "match": (_Match(), "METHOD host/path; * is one segment, at the end everything below."),
        "feature": (FEATURE_ID, "The feature that a request uses."),
        "cost": (QUANTITY, "How much of it; default 1."),
        "free": (FLAG, "true: nothing is counted."),
        "hold": (QUANTITY, "How much is held until the response tells what was used."),
        "capture": (Shape(wants="{variant: path, usage: {kind: path}} or {quantity: path}", fields={
            "variant": (_BODY, "Where the response says which variant it was."),
            "usage": (Named(name=WORD, name_is=WORD_IS, of=_BODY), "Where it says how much of each."),
            "quantity": (_BODY, "Where it says how much."),
        }), "Where the response tells what was used."),
    },
    required=("match",),
    also={"path": "match", "route": "match", "url": "match", "quantity": "cost", "units": "cost",
          "meter": "feature"},
)  # fmt: skip

LINK = Text(
    wants="an http(s) address, with {pack} or {plan} where its id goes",
    pattern=re.compile(r"https?://[^\s{}]+(\{(pack|plan)\}[^\s{}]*)*"),
)

CATALOG = Shape(
    wants="a catalog",
    fields={
        "currency": (TEXT, "Currency of prices, ISO 4217."),
        "default_plan": (PLAN_ID, "Where customers nobody told of start."),
        "entities": (Items(of=ENTITY_ID, most=ENTITIES_MAX), "Levels below the customer."),
        "features": (Named(of=FEATURE), "What can be used."),
        "credits": (Named(of=CREDITS), "Prepaid units that pay for features."),
        "plans": (Named(of=PLAN), "What customers subscribe to."),
        "packs": (Named(of=PACK), "Credits for sale."),
        "routes": (Items(of=ROUTE), "Which requests use which feature; first match wins."),
        "links": (Shape(wants="links", fields={
            "buy": (LINK, "Where a pack is bought."),
            "upgrade": (LINK, "Where the plan is changed."),
        }), "Addresses that denials offer."),
        "statuses": (Named(of=Number(wants="an HTTP status", whole=True)),
                     "HTTP statuses of denials that differ from the usual ones."),
    },
    required=("currency", "features", "plans"),
    also={"meters": "features", "products": "plans", "tiers": "plans", "default": "default_plan",
          "credit": "credits", "route": "routes", "urls": "links", "status": "statuses"},
)  # fmt: skip
