"""Alembic's entry into the database `orders`."""

from models.migrations.runner import run
from models.tables import OrdersBase

run(OrdersBase.metadata)
