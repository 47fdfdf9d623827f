"""Read the simulated provider's books."""

from __future__ import annotations

from dataclasses import dataclass

from models.database import Database
from models.saga import PaymentId


@dataclass(frozen=True, kw_only=True, slots=True)
class BookEntry:
    """The provider's line for one payment, in minor units of `currency`."""

    currency: str
    outcome: str
    captured: int
    refunded: int


async def books(database: Database) -> dict[PaymentId, BookEntry]:
    """Every payment that the provider has a line for."""
    rows = await database.query("SELECT payment_id, currency, outcome, captured, refunded FROM provider_charges")
    return {PaymentId(row.pop("payment_id")): BookEntry(**row) for row in rows}
