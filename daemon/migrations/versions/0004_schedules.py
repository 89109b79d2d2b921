"""Schedules, how far each is, what each of them did, and the hashes of what was delivered."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("written", sa.Text, nullable=False),
        sa.Column("changed", sa.Float, nullable=False),
    )
    op.create_table(
        "schedule_marks",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("timing", sa.Text, nullable=False),
        sa.Column("settled", sa.Float, nullable=False),
    )
    op.create_table(
        "firings",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("schedule", sa.Text, nullable=False),
        sa.Column("tick", sa.Float, nullable=False),
        sa.Column("manual", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("missed", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("note", sa.Text),
    )
    op.create_index("firings_by_tick", "firings", ["schedule", "tick", "manual"], unique=True)
    op.create_index("firings_by_time", "firings", ["at"])
    op.create_table(
        "firing_jobs",
        sa.Column("firing", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("job", sa.Text, primary_key=True),
    )
    op.create_table(
        "fixity",
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("modified", sa.Float, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("checked", sa.Float, nullable=False),
    )
    at_work = sa.text("source = 'schedule' AND state IN ('pending', 'running')")
    op.create_index(
        "jobs_at_work", "jobs", ["endpoint"], sqlite_where=at_work, postgresql_where=at_work
    )
