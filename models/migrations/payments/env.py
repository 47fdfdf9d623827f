"""Alembic's entry into the database `payments`."""

from models.migrations.runner import run
from models.tables import PaymentsBase

run(PaymentsBase.metadata)
