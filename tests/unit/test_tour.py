"""The tour shows a payment that is never settled, unless the user's own settings make that a long wait."""

from __future__ import annotations

import pytest

from cli.tour import STOPS, Tour
from stack.settings import Settings

TIMED_OUT = [stop for stop in STOPS if stop.title == "timed out"]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SAGA_PAYMENT_TIMEOUT", "SAGA_PROVIDER", "SAGA_PROVIDER_LATENCY_MS"):
        monkeypatch.delenv(name, raising=False)


def test_every_end_is_shown_for_both_coordinators() -> None:
    assert len(TIMED_OUT) == 2
    assert Tour.of(Settings()).stops == STOPS


@pytest.mark.parametrize(("latency", "timeout"), [(1500, "8"), (0, "6.5"), (10_000, "16.5")])
def test_the_payment_timeout_leaves_the_other_orders_their_time(latency: int, timeout: str) -> None:
    plan = Tour.of(Settings(provider_latency_ms=latency))

    assert plan.environ == {"SAGA_PAYMENT_TIMEOUT": timeout}
    assert f"within {timeout} s" in plan.notice


def test_the_payment_timeout_is_not_shorter_than_mirrors_may_begin() -> None:
    assert Tour.of(Settings(mirror_after=12)).environ == {"SAGA_PAYMENT_TIMEOUT": "12"}


@pytest.mark.parametrize(("timeout", "shown"), [(5, True), (20, True), (21, False), (900, False)])
def test_a_payment_timeout_of_the_users_own_stays(timeout: float, shown: bool) -> None:
    plan = Tour.of(Settings(payment_timeout=timeout))

    assert (plan.environ, plan.notice) == ({}, "")
    assert [stop for stop in plan.stops if stop in TIMED_OUT] == (TIMED_OUT if shown else [])


def test_a_payment_timeout_in_the_environment_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_PAYMENT_TIMEOUT", "900")

    assert Tour.of(Settings()).environ == {}


def test_a_real_provider_always_answers_so_nothing_times_out() -> None:
    plan = Tour.of(Settings(provider="stripe", stripe_api_key="sk_test"))

    assert plan.environ == {}
    assert not set(TIMED_OUT) & set(plan.stops)
