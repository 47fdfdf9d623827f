"""Keep, with each event, at which attempt its message was handled."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # The version before does not write it: such events have none.
    op.execute("ALTER TABLE event_log ADD COLUMN IF NOT EXISTS attempt integer")
