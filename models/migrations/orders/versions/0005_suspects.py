"""Note which suspected messages were begun and have not ended."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("CREATE TABLE suspects (digest text PRIMARY KEY, begun_alone smallint NOT NULL)")
