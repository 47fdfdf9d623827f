"""Keep the totals by currency, too; find payments by their status."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
        -- Nobody may change a status between the count and the first writer that keeps it.
        LOCK TABLE payments IN SHARE MODE;
        DROP TABLE payment_totals;
        CREATE TABLE payment_sums (
            shard smallint,
            status text,
            currency text,
            count bigint NOT NULL,
            amount bigint NOT NULL,
            PRIMARY KEY (shard, status, currency)
        ) WITH (fillfactor = 50);
        INSERT INTO payment_sums SELECT 0, status, currency, count(*), sum(amount) FROM payments GROUP BY 2, 3;
        -- The version before reads its totals here. It can't say a currency, so it must not write: PostgreSQL refuses
        -- that with an OperationalError, and the ledger waits as it does while its database is away.
        CREATE VIEW payment_totals AS
            SELECT shard, status, sum(count)::bigint AS count, sum(amount)::bigint AS amount
            FROM payment_sums GROUP BY shard, status;
        CREATE INDEX payments_by_status ON payments (status, created_at, id);
        """
    )
