"""The reconciler's settings: read from the environment once, checked, typed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from gateway.pricing.window import Span

HOST_DEFAULT = "127.0.0.1"
"""The control plane holds the keys to Postgres: loopback unless told otherwise."""

PAST_SLACK_MS = 3_600_000
"""What a replaced entitlement is kept beyond the last key that needs it: for clocks, and pushes that came late."""

_SPAN_MS = {
    "second": 1_000,
    "minute": 60_000,
    "hour": 3_600_000,
    "day": 86_400_000,
    "week": 604_800_000,
}
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
_LATER_SCHEMES = ("redis+cluster://", "redis+sentinel://")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


class SettingsInvalid(Exception):
    """The settings cannot be used; `problems` lists every reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the reconciler runs with. Lengths of time are milliseconds."""

    redis_url: str
    database_url: str
    admin_key: str | None = None
    host: str = HOST_DEFAULT
    port: int = 8081
    """0 picks a free one."""
    log_retention_ms: int = 3_600_000
    """How long a copied entry stays in the log: at least what a restore of Postgres may lose."""
    idempotency_retention_ms: int = 24 * 3_600_000
    """How long gateways remember an idempotency key, at least: the same setting as theirs."""
    invoice_grace_ms: int = 3_600_000
    """How long after a period's end its invoice may be finalized at the earliest."""
    denial_retention_ms: int = 30 * 86_400_000
    test_clock: bool = False
    accept_loss: str | None = None
    """Names the unsafe Redis setting the operator has accepted."""
    webhook_url: str | None = None
    batch_entries_max: int = 5_000
    """How many log entries one transaction takes at most."""
    pool_size_max: int = 8
    """Connections to Postgres for the control plane."""
    verify_interval_ms: int = 300_000
    """How often counters are compared with the ledger while running."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Field → the variable or flag it came from; what is absent is a default."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Settings from the environment. Raises SettingsInvalid with every problem at once."""
        reader = _Reader(environ)
        settings = cls(
            redis_url=reader.redis_url(),
            database_url=reader.required("database_url", "DATABASE_URL"),
            admin_key=reader.text("admin_key", "TALLYGATE_ADMIN_KEY"),
            host=reader.text("host", "TALLYGATE_CONTROL_HOST") or HOST_DEFAULT,
            port=reader.number("port", "TALLYGATE_CONTROL_PORT", 8081, 65_535),
            log_retention_ms=reader.span("log_retention_ms", "TALLYGATE_LOG_RETENTION", "1 hour"),
            idempotency_retention_ms=reader.span(
                "idempotency_retention_ms", "TALLYGATE_IDEMPOTENCY_RETENTION", "24 hours"
            ),
            invoice_grace_ms=reader.span("invoice_grace_ms", "TALLYGATE_INVOICE_GRACE", "1 hour"),
            test_clock=reader.flag("test_clock", "TALLYGATE_TEST_CLOCK"),
            accept_loss=reader.text("accept_loss", "TALLYGATE_ACCEPT_LOSS"),
            webhook_url=reader.text("webhook_url", "TALLYGATE_WEBHOOK_URL"),
            verify_interval_ms=reader.span(
                "verify_interval_ms", "TALLYGATE_VERIFY_INTERVAL", "5 minutes"
            ),
            origins=reader.origins,
        )
        if reader.problems:
            raise SettingsInvalid(reader.problems)
        return settings

    @property
    def past_kept_ms(self) -> int:
        """How long Redis keeps a replaced entitlement: gateways look for a key in the current slab and the one before,
        each a retention long, so an answer given under it may be repeated for two."""
        return 2 * self.idempotency_retention_ms + PAST_SLACK_MS

    def override(self, *, host: str | None = None, port: int | None = None) -> Self:
        """The same settings with what the command line says instead."""
        given = {"host": host, "port": port}
        flags = {name: value for name, value in given.items() if value is not None}
        origins = {**self.origins, **{name: f"--{name}" for name in flags}}
        return replace(self, **flags, origins=origins)  # type: ignore[arg-type]


class _Reader:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []

    def text(self, name: str, variable: str) -> str | None:
        value = self._environ.get(variable, "").strip()
        if value:
            self.origins[name] = variable
        return value or None

    def required(self, name: str, variable: str) -> str:
        value = self.text(name, variable)
        if value is None:
            self.problems.append(f"{variable} is not set")
        return value or ""

    def redis_url(self) -> str:
        url = self.required("redis_url", "REDIS_URL")
        if url.startswith(_LATER_SCHEMES):
            self.problems.append(f"REDIS_URL: {url.split(':')[0]}:// is not supported yet")
        elif url and not url.startswith(_REDIS_SCHEMES):
            self.problems.append(f"REDIS_URL must begin with one of {', '.join(_REDIS_SCHEMES)}")
        return url

    def number(self, name: str, variable: str, default: int, largest: int) -> int:
        value = self.text(name, variable)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit() or int(value) > largest:
            self.problems.append(f"{variable}={value!r} is not a number from 0 to {largest}")
            return default
        return int(value)

    def flag(self, name: str, variable: str) -> bool:
        value = (self.text(name, variable) or "").lower()
        if value not in _TRUE | _FALSE:
            self.problems.append(f"{variable}={value!r} is neither 1 nor 0")
        return value in _TRUE

    def span(self, name: str, variable: str, default: str) -> int:
        value = self.text(name, variable) or default
        try:
            span = Span.parse(value)
            return span.count * _SPAN_MS[span.unit]
        except (ValueError, KeyError):
            self.problems.append(f"{variable}={value!r} is not a length of time such as '1 hour'")
            return 0
