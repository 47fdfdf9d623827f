"""The tables of both services. Each service has a metadata of its own, so that no statement can mix the two."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Identity, Index, MetaData, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.conditions import ORDER_OFF, ORDER_ORCHESTRATED, PAYMENT_DUE, PAYMENT_WITHOUT_MONEY

_UTC: Any = DateTime(timezone=True)
_NOW = {"server_default": text("now()")}
_ONE = {"server_default": text("1")}


class OrdersBase(SQLModel):
    """The tables of the database `orders`."""

    metadata = MetaData()


class PaymentsBase(SQLModel):
    """The tables of the database `payments`."""

    metadata = MetaData()


class OrderRow(OrdersBase, table=True):
    __tablename__ = "orders"
    __table_args__ = (
        Index("orders_newest", "created_at", "id"),
        Index("orders_of_user", "user_id", "created_at", "id"),
        Index("orders_by_status", "status", "created_at", "id"),
        Index("orders_off", "updated_at", "id", postgresql_where=text(ORDER_OFF)),
        Index("orders_orchestrated", "status", postgresql_where=text(ORDER_ORCHESTRATED)),
        {"postgresql_with": {"fillfactor": 85}},
    )

    id: UUID = Field(primary_key=True)
    user_id: UUID
    total: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    payment_method: str | None = Field(sa_type=Text)
    coordinator: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    cancel_reason: str | None = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=_UTC)
    updated_at: datetime = Field(sa_type=_UTC)
    changes: int | None = Field(sa_column_kwargs=_ONE)  # transactions that wrote the row; None: not counted from birth


class OrderTotalRow(OrdersBase, table=True):
    """Orders and their amounts by status. Writers of orders update them, in shards, so that they seldom wait."""

    __tablename__ = "order_totals"
    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)

    shard: int = Field(sa_type=SmallInteger, primary_key=True)
    status: str = Field(sa_type=Text, primary_key=True)
    count: int = Field(sa_type=BigInteger)
    amount: int = Field(sa_type=BigInteger)


class IdempotencyKeyRow(OrdersBase, table=True):
    """Which order an Idempotency-Key stands for; `digest` is the SHA-256 of the request it came with."""

    __tablename__ = "idempotency_keys"

    scope: str = Field(sa_type=Text, primary_key=True)
    key: str = Field(sa_type=Text, primary_key=True)
    digest: bytes
    order_id: UUID
    created_at: datetime = Field(sa_type=_UTC, sa_column_kwargs=_NOW)


class PaymentRow(PaymentsBase, table=True):
    __tablename__ = "payments"
    __table_args__ = (
        Index("payments_newest", "created_at", "id"),
        Index("payments_by_status", "status", "created_at", "id"),
        Index("payments_due", "updated_at", "order_id", postgresql_where=text(PAYMENT_DUE)),
        Index("payments_ended", "updated_at", "order_id", postgresql_where=text(PAYMENT_WITHOUT_MONEY)),
        {"postgresql_with": {"fillfactor": 85}},
    )

    id: UUID = Field(primary_key=True)
    order_id: UUID = Field(unique=True)
    amount: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    payment_method: str | None = Field(sa_type=Text)
    coordinator: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    due: str | None = Field(sa_type=Text)
    transaction_id: str | None = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=_UTC)
    updated_at: datetime = Field(sa_type=_UTC)
    changes: int | None = Field(sa_column_kwargs=_ONE)  # as an order's


class PaymentSumRow(PaymentsBase, table=True):
    """Payments and their amounts by status and currency, updated as order totals are."""

    __tablename__ = "payment_sums"
    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)

    shard: int = Field(sa_type=SmallInteger, primary_key=True)
    status: str = Field(sa_type=Text, primary_key=True)
    currency: str = Field(sa_type=Text, primary_key=True)
    count: int = Field(sa_type=BigInteger)
    amount: int = Field(sa_type=BigInteger)


class ProviderChargeRow(PaymentsBase, table=True):
    """The simulated provider's own books. No statement of the payment service touches them."""

    __tablename__ = "provider_charges"

    payment_id: UUID = Field(primary_key=True)
    amount: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    outcome: str = Field(sa_type=Text)
    transaction_id: str | None = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    captured: int = Field(sa_type=BigInteger)
    refunded: int = Field(sa_type=BigInteger)
    updated_at: datetime = Field(sa_type=_UTC, sa_column_kwargs=_NOW)


class _EventColumns(SQLModel):
    """The event log: written in the transaction of the state change, append-only. `seq` orders one order's events."""

    seq: int | None = Field(default=None, sa_type=BigInteger, primary_key=True, sa_column_args=[Identity(always=True)])
    event_id: UUID
    order_id: UUID = Field(index=True)
    event_type: str = Field(sa_type=Text)
    occurred_at: datetime = Field(sa_type=_UTC)
    correlation_id: str = Field(sa_type=Text)
    causation_id: UUID | None
    coordinator: str = Field(sa_type=Text)
    payload: dict[str, Any] = Field(sa_type=JSONB)
    traceparent: str | None = Field(sa_type=Text)
    attempt: int | None  # at which its message was handled; None: from before this was kept


class OrderEventRow(OrdersBase, _EventColumns, table=True):
    __tablename__ = "event_log"
    __table_args__ = (Index("event_log_time", "occurred_at", postgresql_using="brin"),)


class PaymentEventRow(PaymentsBase, _EventColumns, table=True):
    __tablename__ = "event_log"
    __table_args__ = (Index("event_log_time", "occurred_at", postgresql_using="brin"),)


class _OutboxColumns(SQLModel):
    """Events that are not known to have reached the broker yet. The relay alone publishes the `deferred` ones."""

    seq: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    order_id: UUID = Field(index=True)
    deferred: bool
    created_at: datetime = Field(sa_type=_UTC, sa_column_kwargs=_NOW)


class OrderOutboxRow(OrdersBase, _OutboxColumns, table=True):
    __tablename__ = "outbox"


class PaymentOutboxRow(PaymentsBase, _OutboxColumns, table=True):
    __tablename__ = "outbox"


class _RemovedColumns(SQLModel):
    """One row from the first removal on. Retention removed events only of sagas that have not changed since `until`."""

    id: int = Field(default=1, sa_type=SmallInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    until: datetime = Field(sa_type=_UTC)
    events: int = Field(sa_type=BigInteger)


class RemovedOrderEventsRow(OrdersBase, _RemovedColumns, table=True):
    __tablename__ = "removed_events"


class RemovedPaymentEventsRow(PaymentsBase, _RemovedColumns, table=True):
    __tablename__ = "removed_events"


class _SuspectColumns(SQLModel):
    """Messages that were redelivered too often and are being handled now. A row ends when the handling ends."""

    digest: str = Field(sa_type=Text, primary_key=True)
    begun_alone: int = Field(sa_type=SmallInteger)  # how often it was begun with no other suspect beside it


class OrderSuspectRow(OrdersBase, _SuspectColumns, table=True):
    __tablename__ = "suspects"


class PaymentSuspectRow(PaymentsBase, _SuspectColumns, table=True):
    __tablename__ = "suspects"
