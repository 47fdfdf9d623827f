"""Find the failed orders, as the cancelled ones, in the order of their end."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # The version before looks for the cancelled alone, which this index holds too.
    op.execute("CREATE INDEX orders_off ON orders (updated_at, id) WHERE status IN ('CANCELLED', 'FAILED')")
    op.execute("DROP INDEX orders_cancelled")
