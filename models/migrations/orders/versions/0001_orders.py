"""Orders, their event log and its outbox."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE orders (
            id uuid PRIMARY KEY,
            user_id uuid NOT NULL,
            total bigint NOT NULL,
            currency text NOT NULL,
            payment_method text,
            coordinator text NOT NULL,
            status text NOT NULL,
            cancel_reason text,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL
        ) WITH (fillfactor = 85);
        CREATE INDEX orders_newest ON orders (created_at, id);
        CREATE INDEX orders_of_user ON orders (user_id, created_at, id);
        CREATE INDEX orders_by_status ON orders (status, created_at, id);

        CREATE TABLE event_log (
            seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            event_id uuid NOT NULL,
            order_id uuid NOT NULL,
            event_type text NOT NULL,
            occurred_at timestamptz NOT NULL,
            correlation_id text NOT NULL,
            causation_id uuid,
            coordinator text NOT NULL,
            payload jsonb NOT NULL
        );
        CREATE INDEX ix_event_log_order_id ON event_log (order_id);
        CREATE INDEX event_log_time ON event_log USING brin (occurred_at);

        CREATE TABLE outbox (
            seq bigint PRIMARY KEY,
            order_id uuid NOT NULL,
            deferred boolean NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
        CREATE INDEX ix_outbox_order_id ON outbox (order_id);
        """
    )
