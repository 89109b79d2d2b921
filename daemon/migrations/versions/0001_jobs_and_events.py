"""Jobs, their events, and facts about the database."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("input_name", sa.Text, nullable=False),
        sa.Column("order", sa.Text, nullable=False),
        sa.Column("first_lane", sa.Text, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("next_step", sa.Integer, nullable=False),
        sa.Column("carried", sa.Text),
        sa.Column("finished", sa.Text),
        sa.Column("intent", sa.Text),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("vtime", sa.Float, nullable=False),
        sa.Column("share", sa.Text, nullable=False),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sa.Column("group", sa.Text, nullable=False),
        sa.Column("group_limit", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("retries", sa.Integer, nullable=False),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer),
        sa.Column("not_before", sa.Float),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("error_kind", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("error_field", sa.Text),
        sa.Column("error_hint", sa.Text),
        sa.Column("error_step", sa.Integer),
        sa.Column("error_op", sa.Text),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("webhook_url", sa.Text),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("completed", sa.Float),
    )
    op.create_index("jobs_by_id", "jobs", ["id"], unique=True)
    _partial(
        "jobs_ready",
        ["lane", "group", sa.text("priority DESC"), "vtime", "seq"],
        "state = 'pending' AND not_before IS NULL",
    )
    _partial("jobs_delayed", ["not_before"], "state = 'pending' AND not_before IS NOT NULL")
    _partial("jobs_running", ["seq"], "state = 'running'")
    _partial(
        "jobs_forgettable",
        ["completed"],
        "completed IS NOT NULL AND source IN ('rest', 'mcp', 'cli')",
    )
    _partial("jobs_by_key", ["idempotency_key"], "idempotency_key IS NOT NULL", unique=True)
    op.create_table(
        "job_events",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("job", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("text", sa.Text),
    )
    op.create_index("job_events_by_job", "job_events", ["job"])
    op.create_table(
        "facts",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Integer, nullable=False),
    )


def _partial(
    name: str, columns: list[str | sa.TextClause], where: str, *, unique: bool = False
) -> None:
    condition = sa.text(where)
    op.create_index(
        name,
        "jobs",
        columns,
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )
