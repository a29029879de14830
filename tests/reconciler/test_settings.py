import pytest

from reconciler.settings import Settings, SettingsInvalid

STORES = {"REDIS_URL": "unix:///r.sock", "DATABASE_URL": "postgresql:///t"}


def test_defaults_are_those_of_the_contract():
    settings = Settings.read(STORES)
    assert (settings.host, settings.port) == ("127.0.0.1", 8081)
    assert settings.log_retention_ms == settings.invoice_grace_ms == 3_600_000
    assert settings.test_clock is False
    assert settings.origins == {"redis_url": "REDIS_URL", "database_url": "DATABASE_URL"}


def test_lengths_of_time_are_spans():
    settings = Settings.read({**STORES, "TALLYGATE_LOG_RETENTION": "2 days"})
    assert settings.log_retention_ms == 2 * 86_400_000


def test_replaced_entitlements_outlive_every_idempotency_key_given_under_them():
    day_ms = 86_400_000
    assert Settings.read(STORES).idempotency_retention_ms == day_ms
    settings = Settings.read({**STORES, "TALLYGATE_IDEMPOTENCY_RETENTION": "2 days"})
    assert settings.past_kept_ms > 2 * settings.idempotency_retention_ms == 4 * day_ms


def test_flags_override_the_environment():
    settings = Settings.read({**STORES, "TALLYGATE_CONTROL_PORT": "9000"})
    settings = settings.override(port=0)
    assert settings.port == 0
    assert settings.origins["port"] == "--port"


def test_every_problem_is_told_at_once():
    with pytest.raises(SettingsInvalid) as raised:
        Settings.read(
            {
                "REDIS_URL": "redis+cluster://a",
                "TALLYGATE_CONTROL_PORT": "70000",
                "TALLYGATE_LOG_RETENTION": "1 month",
                "TALLYGATE_TEST_CLOCK": "perhaps",
            }
        )
    told = "; ".join(raised.value.problems)
    for name in ("not supported yet", "DATABASE_URL", "70000", "1 month", "perhaps"):
        assert name in told
