"""Totals kept by the writers; the simulated provider's books."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE payment_totals (
            shard smallint,
            status text,
            count bigint NOT NULL,
            amount bigint NOT NULL,
            PRIMARY KEY (shard, status)
        ) WITH (fillfactor = 50);
        -- Nobody may change a status between the count and the first writer that keeps it.
        LOCK TABLE payments IN SHARE MODE;
        INSERT INTO payment_totals SELECT 0, status, count(*), sum(amount) FROM payments GROUP BY status;

        CREATE TABLE provider_charges (
            payment_id uuid PRIMARY KEY,
            amount bigint NOT NULL,
            currency text NOT NULL,
            outcome text NOT NULL,
            transaction_id text,
            reason text,
            captured bigint NOT NULL,
            refunded bigint NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now()
        );
        """
    )
