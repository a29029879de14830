from pathlib import Path

import pytest

import gateway
from gateway.settings import VARIABLES, Settings, SettingsInvalid, duration_ms


def test_an_empty_environment_gives_the_documented_defaults():
    settings = Settings.read({})
    assert settings.deadline_ms == 50
    assert settings.retry_after_max_s == 3600
    assert settings.idempotency_retention_ms == 24 * 3_600_000
    assert settings.on_outage == "bounded"
    assert not settings.test_clock
    assert settings.gateway_id


def test_every_variable_is_a_field():
    assert set(VARIABLES) <= set(Settings.__dataclass_fields__)


def test_every_variable_is_in_the_readme():
    text = Path(gateway.__file__).with_name("README.md").read_text()
    assert [variable for variable, _ in VARIABLES.values() if f"`{variable}`" not in text] == []


def test_a_value_remembers_where_it_came_from():
    settings = Settings.read({"TALLYGATE_DEADLINE_MS": "80"})
    assert settings.deadline_ms == 80
    assert settings.origin("deadline_ms") == "TALLYGATE_DEADLINE_MS"
    assert settings.origin("port") == "default"


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("24 hours", 86_400_000),
        ("1 day", 86_400_000),
        ("hour", 3_600_000),
        ("90 s", 90_000),
        ("90", 90_000),
        ("250ms", 250),
    ],
)
def test_lengths_of_time_are_read(text, milliseconds):
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "hours 2", "1.5 hours", "-1 s", "5 fortnights", "1e3 s"])
def test_other_lengths_of_time_are_refused(text):
    with pytest.raises(ValueError, match="time"):
        duration_ms(text)


def test_every_problem_is_told_at_once_with_its_variable():
    with pytest.raises(SettingsInvalid) as caught:
        Settings.read(
            {
                "REDIS_URL": "redis+cluster://a:1",
                "TALLYGATE_ON_OUTAGE": "open",
                "TALLYGATE_WORKERS": "0",
                "TALLYGATE_TEST_CLOCK": "perhaps",
                "TALLYGATE_AUTHZ_CUSTOMER": "header:X_Customer",
                "TALLYGATE_ACCEPT_LOSS": "everything",
            }
        )
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "REDIS_URL",
        "TALLYGATE_ON_OUTAGE",
        "TALLYGATE_TEST_CLOCK",
        "TALLYGATE_AUTHZ_CUSTOMER",
        "TALLYGATE_ACCEPT_LOSS",
        "TALLYGATE_WORKERS",
    ]
    assert "not supported yet" in caught.value.problems[0]
    assert "not supported yet" in caught.value.problems[1]


def test_the_customer_header_is_kept_in_lower_case():
    assert Settings.read(
        {"TALLYGATE_AUTHZ_CUSTOMER": "header:X-Customer"}
    ).authz_customer_header == ("x-customer")


def test_the_header_of_the_key_cannot_also_name_the_customer():
    with pytest.raises(SettingsInvalid, match="something else"):
        Settings.read({"TALLYGATE_AUTHZ_CUSTOMER": "header:Authorization"})
