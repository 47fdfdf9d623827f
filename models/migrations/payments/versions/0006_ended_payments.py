"""Find the payments that have ended without money, in the order of their end."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # `due` is in the predicate of an index already, so a payment's end rewrites its index entries as it is.
    op.execute(
        "CREATE INDEX payments_ended ON payments (updated_at, order_id)"
        " WHERE due IS NULL AND status IN ('CANCELLED', 'DECLINED', 'FAILED', 'REFUNDED')"
    )
