"""Find the payments for which something is due."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("CREATE INDEX payments_due ON payments (updated_at, order_id) WHERE due IS NOT NULL")
