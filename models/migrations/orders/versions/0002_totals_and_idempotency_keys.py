"""Totals kept by the writers, so that counting does not grow with the table; Idempotency-Keys."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE order_totals (
            shard smallint,
            status text,
            count bigint NOT NULL,
            amount bigint NOT NULL,
            PRIMARY KEY (shard, status)
        ) WITH (fillfactor = 50);
        -- Nobody may change a status between the count and the first writer that keeps it.
        LOCK TABLE orders IN SHARE MODE;
        INSERT INTO order_totals SELECT 0, status, count(*), sum(total) FROM orders GROUP BY status;

        CREATE TABLE idempotency_keys (
            scope text,
            key text,
            digest bytea NOT NULL,
            order_id uuid NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (scope, key)
        );
        """
    )
