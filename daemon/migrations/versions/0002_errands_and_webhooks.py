"""What jobs fetch and send, and the outbox of webhooks with its attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("errands", sa.Text))
    op.create_table(
        "webhooks",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("next_at", sa.Float),
        sa.Column("ended", sa.Float),
    )
    op.create_index("webhooks_by_id", "webhooks", ["id"], unique=True)
    op.create_index("webhooks_by_job", "webhooks", ["job_id"])
    due, ended = sa.text("next_at IS NOT NULL"), sa.text("ended IS NOT NULL")
    op.create_index("webhooks_due", "webhooks", ["next_at"], sqlite_where=due, postgresql_where=due)
    op.create_index(
        "webhooks_ended", "webhooks", ["ended"], sqlite_where=ended, postgresql_where=ended
    )
    op.create_table(
        "webhook_attempts",
        sa.Column("webhook", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.Text),
    )
