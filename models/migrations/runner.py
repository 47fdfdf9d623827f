"""What both services' Alembic environments have in common."""

from __future__ import annotations

from alembic import context
from sqlalchemy import MetaData, create_engine
from sqlalchemy.pool import NullPool


def run(metadata: MetaData) -> None:
    """Run each revision in a transaction of its own, on the database whose URL is in the configuration.

    So no revision keeps one table locked while the next one waits for another, which a running service may hold. No
    statement waits for a table for long: behind it, everybody else would wait for that table, too.
    """
    engine = create_engine(context.config.attributes["url"], poolclass=NullPool, connect_args={"connect_timeout": 5})
    with engine.connect() as connection:
        connection.exec_driver_sql("SET lock_timeout = '2s'")
        connection.commit()
        context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
