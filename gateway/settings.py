"""What an operator can set for the gateway: read from the environment once, checked, typed."""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Fence = Literal["auto", "script", "connection"]
LOSSES = ("persistence", "eviction")
"""What TALLYGATE_ACCEPT_LOSS may name: Redis without persistence, Redis that evicts."""

_UNITS_MS = {"ms": 1, "s": 1_000, "second": 1_000, "minute": 60_000, "hour": 3_600_000}
_UNITS_MS["day"] = 24 * _UNITS_MS["hour"]
_SCHEMES = ("redis://", "rediss://", "unix://")
_SCHEMES_LATER = ("redis+cluster://", "redis+sentinel://")


class SettingsInvalid(ValueError):
    """One or more settings cannot be used; each problem names its variable."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of the gateway, with its unit in its name."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    admin_key: str = ""
    """The secret that has every scope; empty: there is none."""
    deadline_ms: int = 50
    """How long one decision may wait for Redis, retries included."""
    fence: Fence = "auto"
    """Whether the script reads the server's run id itself; auto: chosen by what is found."""
    retry_after_max_s: int = 3_600
    idempotency_retention_ms: int = 24 * 3_600_000
    on_outage: Literal["closed", "bounded"] = "bounded"
    test_clock: bool = False
    """Whether an offset in a bucket's meta is added to Redis time."""
    authz_customer_header: str = ""
    """Lower-case header in which a trusted proxy names the customer; empty: the API key does."""
    accept_loss: frozenset[str] = frozenset()
    """What may be lost without the gateway calling itself not ready: see LOSSES."""
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    gateway_id: str = ""
    """Names this process in metrics and logs; made up when not set."""
    body_bytes_max: int = 1_048_576
    in_flight_max: int = 1_000
    """Decisions waiting for Redis at once in one process; more are refused as overload."""
    metrics_directory: str = ""
    """Where the workers of one gateway leave their counts for each other; empty: one worker."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Field name → the variable it came from; absent: the default."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Settings":
        """Settings as the environment has them. Raises SettingsInvalid naming every problem."""
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        problems: list[str] = []
        for name, (variable, read) in VARIABLES.items():
            text = environ.get(variable, "").strip()
            if not text:
                continue
            try:
                values[name] = read(text)
                origins[name] = variable
            except ValueError as error:
                problems.append(f"{variable}: {error}")
        if problems:
            raise SettingsInvalid(problems)
        values.setdefault("gateway_id", secrets.token_hex(4))
        return cls(**values, origins=origins)

    def origin(self, name: str) -> str:
        """Where a field's value came from, for people."""
        return self.origins.get(name, "default")


def duration_ms(text: str) -> int:
    """Milliseconds of `24 hours`, `hour`, `90 s` or plain seconds. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,9})?\s*([a-z]*)", text.strip().lower())
    number, unit = found.groups() if found else (None, None)
    if unit is None or (number is None and not unit):
        raise ValueError(f"{text!r} is not a length of time; write it like '24 hours' or '90 s'")
    unit = unit or "s"
    length_ms = _UNITS_MS.get(unit) or _UNITS_MS.get(unit.removesuffix("s"))
    if length_ms is None:
        raise ValueError(f"{unit!r} is not a unit of time: use {', '.join(_UNITS_MS)}")
    return int(number or 1) * length_ms


def _duration(low_ms: int, high_ms: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        return _within(duration_ms(text), low_ms, high_ms, "ms")

    return read


def _seconds(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        return _within(duration_ms(text) // 1_000, low, high, "s")

    return read


def _integer(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,15}", text):
            raise ValueError(f"{text!r} is not a whole number")
        return _within(int(text), low, high, "")

    return read


def _within(number: int, low: int, high: int, unit: str) -> int:
    if not low <= number <= high:
        raise ValueError(f"{number} {unit}".rstrip() + f" is not between {low} and {high}")
    return number


def _choice(*allowed: str, later: tuple[str, ...] = ()) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text in later:
            raise ValueError(f"{text!r} is not supported yet; use {' or '.join(allowed)}")
        if text not in allowed:
            raise ValueError(f"{text!r} is not one of {', '.join(allowed)}")
        return text

    return read


def _redis_url(text: str) -> str:
    if text.startswith(_SCHEMES_LATER):
        raise ValueError(f"{text.partition('://')[0]}:// is not supported yet; use redis://")
    if not text.startswith(_SCHEMES):
        raise ValueError(f"must begin with {', '.join(_SCHEMES)}")
    return text


def _switch(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"{text!r} is neither on nor off; use 1 or 0")


def _losses(text: str) -> frozenset[str]:
    named = frozenset(re.split(r"[\s,]+", text))
    if unknown := named - set(LOSSES):
        raise ValueError(f"{', '.join(sorted(unknown))}: not one of {', '.join(LOSSES)}")
    return named


def _customer_header(text: str) -> str:
    kind, _, name = text.partition(":")
    if kind == "key" and not name:
        return ""
    # Names with _ or . are what an attacker sends as an alias of the real one, so none may be set.
    if kind != "header" or not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", name):
        raise ValueError(f"{text!r} is neither key nor header:NAME (letters, digits and -)")
    if name.lower() in ("authorization", "x-api-key", "x-tallygate-key", "x-tallygate-request"):
        raise ValueError(f"{name} carries something else")
    return name.lower()


VARIABLES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "redis_url": ("REDIS_URL", _redis_url),
    "admin_key": ("TALLYGATE_ADMIN_KEY", str),
    "deadline_ms": ("TALLYGATE_DEADLINE_MS", _integer(1, 60_000)),
    "fence": ("TALLYGATE_FENCE", _choice("auto", "script", "connection")),
    "retry_after_max_s": ("TALLYGATE_RETRY_AFTER_MAX", _seconds(1, 31_622_400)),
    "idempotency_retention_ms": (
        "TALLYGATE_IDEMPOTENCY_RETENTION",
        _duration(60_000, 35 * _UNITS_MS["day"]),
    ),
    "on_outage": ("TALLYGATE_ON_OUTAGE", _choice("closed", "bounded", later=("open",))),
    "test_clock": ("TALLYGATE_TEST_CLOCK", _switch),
    "authz_customer_header": ("TALLYGATE_AUTHZ_CUSTOMER", _customer_header),
    "accept_loss": ("TALLYGATE_ACCEPT_LOSS", _losses),
    "host": ("TALLYGATE_HOST", str),
    "port": ("TALLYGATE_PORT", _integer(0, 65_535)),
    "workers": ("TALLYGATE_WORKERS", _integer(1, 64)),
    "gateway_id": ("TALLYGATE_GATEWAY_ID", str),
    "body_bytes_max": ("TALLYGATE_BODY_MAX", _integer(1_024, 67_108_864)),
    "in_flight_max": ("TALLYGATE_IN_FLIGHT_MAX", _integer(1, 100_000)),
    "metrics_directory": ("TALLYGATE_METRICS_DIRECTORY", str),
}
"""Field name → (environment variable, how its text is read)."""
