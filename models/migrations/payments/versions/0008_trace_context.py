"""Keep the trace context of each logged event, so that the relay and a replay continue the saga's trace."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # Neither the version before nor a process without traces writes it: such events have none.
    op.execute("ALTER TABLE event_log ADD COLUMN IF NOT EXISTS traceparent text")
