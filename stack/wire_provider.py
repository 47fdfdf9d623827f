"""Choose the payment provider, and what must run beside it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from activities.measures import ProviderMeasures
from activities.providers import PaymentProvider
from activities.providers.measured import MeasuredProvider
from activities.providers.simulated import SimulatedProvider
from models.database import Database
from stack.settings import Settings


def wire_provider(
    settings: Settings, database: Database, *measures: ProviderMeasures | None
) -> tuple[PaymentProvider, Coroutine[Any, Any, None]]:
    """The configured provider, whose calls those of `measures` hear of that are there; and its background part."""
    provider, running = _provider(settings, database)
    hearing = [each for each in measures if each is not None]
    return (MeasuredProvider(provider, *hearing) if hearing else provider), running


def _provider(settings: Settings, database: Database) -> tuple[PaymentProvider, Coroutine[Any, Any, None]]:
    if settings.provider == "stripe":
        from activities.providers.stripe import StripeProvider  # the library is large; the simulation needs none of it

        stripe = StripeProvider(settings.stripe_api_key.get_secret_value(), timeout=settings.provider_timeout)
        return stripe, stripe.run()
    simulated = SimulatedProvider(
        database,
        latency=settings.provider_latency_ms / 1000,
        decline_rate=settings.provider_decline_rate,
        timeout=settings.provider_timeout,
    )
    return simulated, simulated.run()
