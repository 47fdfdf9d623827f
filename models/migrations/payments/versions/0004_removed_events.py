"""Remember up to when retention may have removed events."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE removed_events (
            id smallint PRIMARY KEY CHECK (id = 1),
            until timestamptz NOT NULL,
            events bigint NOT NULL
        )
        """
    )
