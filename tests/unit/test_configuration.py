"""Each mistake in the settings is told in one line without any secret, and one page documents every setting."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from embedded.errors import StackError
from stack import configuration, settings

PAGE = Path(configuration.__file__).parent.parent / "docs" / "configuration.md"
SECRETS = [name for name, field in settings.Settings.model_fields.items() if field.annotation is SecretStr]
HIDDEN = "hunter2-hunter2"

# A value that breaks the variable's rule, and what the error says about it.
BAD = [
    ("PORT", "0", "greater than or equal to 1"),
    ("PORT", "65536", "less than or equal to 65535"),
    ("AMQP_URL", "amqp://localhost:x/", "must be like amqp://user:password@host:port/name"),
    ("ORDER_SERVICE_URL", "order:3001", "must be like http://user:password@host:port/name"),
    ("PAYMENT_SERVICE_URL", "ftp://payment:3002", "must be like http://user:password@host:port/name"),
    ("ORDERS_DATABASE_URL", f"postgresql://u:p@{HIDDEN}@h/db", "must be percent-encoded"),
    ("PAYMENTS_DATABASE_URL", f"postgresql://u:{HIDDEN}%ZZ@h/db", "must be percent-encoded"),
    ("AMQP_URL", f"amqp://u:{HIDDEN} x@h/", "must be percent-encoded"),
    ("ORDERS_DATABASE_URL", "postgress://u:p@h/db", "must be like postgresql://user:password@host:port/name"),
    ("DATABASE_CONNECTIONS", "1", "greater than or equal to 2"),
    ("DATABASE_CONNECTIONS", "many", "valid integer"),
    ("DEFAULT_COORDINATOR", "nobody", "'choreography' or 'orchestration'"),
    ("ORIGINAL_SERVICES", "order,gateway", "'order' or 'payment'"),
    ("ORIGINAL_QUEUES", "order.paid=some.queue", "order.created=payment.process.queue"),
    ("ORIGINAL_QUEUES", "payment.process.queue", "order.created=payment.process.queue"),
    ("TRUSTED_PROXIES", "balancer", "addresses or networks such as 10.0.0.0/8"),
    ("TRUSTED_PROXIES", "10.0.0.5,10.0.0.1/8", "without bits beyond the mask"),
    ("PROVIDER", "bank", "'simulated' or 'stripe'"),
    ("PROVIDER_LATENCY_MS", "-1", "greater than or equal to 0"),
    ("PROVIDER_DECLINE_RATE", "1.1", "less than or equal to 1"),
    ("PROVIDER_DECLINE_RATE", "nan", "less than or equal to 1"),
    ("PROVIDER_TIMEOUT", "0", "greater than 0"),
    ("RETRY_DELAYS", ",", "at least 1 item"),
    ("RETRY_DELAYS", "1,two", "valid number"),
    ("RETRY_DELAYS", "-1", "greater than or equal to 0.001"),
    ("RETRY_DELAYS", "inf", "less than or equal to 86400"),
    ("RETRY_DELAYS", ",".join(["1"] * 21), "at most 20 items"),
    ("PREFETCH", "0", "greater than or equal to 1"),
    ("BATCH_LIMIT", "5001", "less than or equal to 5000"),
    ("RELAY_GRACE", "-0.1", "greater than or equal to 0"),
    ("RELAY_INTERVAL", "0", "greater than 0"),
    ("SHUTDOWN_TIMEOUT", "soon", "valid number"),
    ("TEMPORAL_UI_URL", "javascript:alert(1)", "must be like http://127.0.0.1:8233"),
    ("TEMPORAL_ADDRESS", "localhost", "should match pattern"),
    ("TEMPORAL_ADDRESS", "http://localhost:7233", "should match pattern"),
    ("PAYMENT_TIMEOUT", "0", "greater than or equal to 0.001"),
    ("COMPENSATION_TIMEOUT", "86401", "less than or equal to 86400"),
    ("MIRROR_PREFETCH", "0", "greater than or equal to 1"),
    ("MIRROR_CONCURRENCY", "1001", "less than or equal to 1000"),
    ("API_KEYS", "alice", "record 1 must be name:role:digest or name:role:userId:digest"),
    ("API_KEYS", f"a:client:{HIDDEN}", "record 1 (a) must end with the key's SHA-256"),
    ("API_KEYS", f"a:client:{'0' * 64},b:{HIDDEN}:{'1' * 64}", "record 2 (b) must have the role client or operator"),
    ("API_KEYS", f"b:client:7:{HIDDEN}", "record 1 (b) must end with"),
    ("API_KEYS", f"b:client:{HIDDEN}:{'1' * 64}", "record 1 (b) must have a UUID as its userId"),
    ("API_KEYS", f"b:operator:{UUID(int=1)}:{'1' * 64}", "record 1 (b) is an operator's"),
    ("API_KEYS", f"{'ab' * 32}:client:{'1' * 64}", "record 1 must begin with its name"),
    ("API_KEYS", f"sk_saga_{HIDDEN}:client:{'1' * 64}", "record 1 must begin with its name"),
    ("API_KEYS", f"a:client:{'1' * 64} b:client:{'1' * 64}", "record 2 (b) has the same digest as a"),
    ("API_KEYS", f"a:client:{'1' * 64} a:operator:{'2' * 64}", "record 2 (a) has the name of a record with another"),
    ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ("LOG_FORMAT", "xml", "'json' or 'console'"),
]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("SAGA_")]:
        monkeypatch.delenv(name)


def test_the_documented_settings_are_the_ones_there_are() -> None:
    """If this fails: python -m stack.configuration > docs/configuration.md"""
    assert configuration.page() == PAGE.read_text(encoding="utf-8")


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in settings.Settings.model_fields.items() if not field.description] == []


def test_the_page_shows_no_password() -> None:
    shown = settings.Settings()
    passwords = [getattr(shown, name).get_secret_value().partition("@")[0].rpartition(":")[2] for name in SECRETS]
    assert [word for word in passwords if word and f":{word}@" in configuration.page()] == []


def test_an_empty_environment_is_a_valid_configuration() -> None:
    ports = [settings.load().port_of(process) for process in ("gateway", "order", "payment", "worker")]
    assert ports == [3000, 3001, 3002, 3003]


def test_retry_delays_are_seconds_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_RETRY_DELAYS", "0.1, 2,30")
    assert settings.load().retry_delays == (0.1, 2.0, 30.0)


@pytest.mark.parametrize(("name", "value", "rule"), BAD)
def test_a_bad_value_is_one_line_that_names_variable_and_rule(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(f"SAGA_{name}", value)
    with pytest.raises(StackError) as refused:
        settings.load()
    line = str(refused.value)
    assert (f"SAGA_{name}: " in line, rule in line, "\n" in line) == (True, True, False), line


def test_all_bad_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_PORT", "0")
    monkeypatch.setenv("SAGA_PROVIDER", "bank")
    with pytest.raises(StackError, match=r"SAGA_PORT: .*; SAGA_PROVIDER: "):
        settings.load()


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_PORT", "")
    assert settings.load() == settings.Settings()


def test_stripe_needs_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_PROVIDER", "stripe")
    with pytest.raises(StackError, match="SAGA_STRIPE_API_KEY"):
        settings.load()


@pytest.mark.parametrize(("name", "value"), [("DEFAULT_COORDINATOR", "orchestration"), ("MIRROR_AFTER", "5")])
def test_what_needs_both_services_is_refused_beside_an_original_one(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("SAGA_ORIGINAL_SERVICES", "order, payment")
    assert settings.load().originals == {"order", "payment"}
    monkeypatch.setenv(f"SAGA_{name}", value)
    with pytest.raises(StackError, match=f"SAGA_{name}"):
        settings.load()


def test_a_url_that_is_refused_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", f"http://user:{HIDDEN}@host/")
    with pytest.raises(StackError) as refused:
        settings.load()
    assert HIDDEN not in str(refused.value)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    schemes = {"amqp_url": "amqp", "order_service_url": "http", "payment_service_url": "http", "worker_url": "http"}
    scheme = schemes.get(name, "postgresql")
    monkeypatch.setenv(f"SAGA_{name.upper()}", f"{scheme}://user:{HIDDEN}@host/{HIDDEN}")
    loaded = settings.load()
    assert [text for text in (repr(loaded), str(loaded), f"{loaded.model_dump()}") if HIDDEN in text] == []
    monkeypatch.setenv("SAGA_PORT", "0")
    with pytest.raises(StackError) as refused:
        settings.load()
    assert HIDDEN not in str(refused.value)
    assert refused.value.__suppress_context__, "a traceback would show what was loaded"


def test_every_setting_that_carries_a_password_is_a_secret() -> None:
    telling = ("password", "token", "api_key", "amqp_url", "database_url", "service_url", "worker_url")
    named = {name for name in settings.Settings.model_fields if name.endswith(telling)}
    assert named == set(SECRETS)


def test_an_ipv6_address_is_a_host_name_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_ALLOWED_HOSTS", "gateway,fd00::1,[fd00::2]")
    assert settings.load().allowed_hosts == ("gateway", "[fd00::1]", "[fd00::2]")
