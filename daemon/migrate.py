"""Brings the database to the tables that this program knows, or says why it cannot."""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa

from daemon import schema
from daemon.faults import UnusableDatabase


def bring_up(connection: sa.Connection, database: Path) -> None:
    """Run the migrations that the database lacks. Nothing is imported when it lacks none.

    Raises:
        UnusableDatabase: it was written by a newer program.
    """
    found = schema.revision(connection)
    if found == schema.HEAD:
        return
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise UnusableDatabase(
            f"{database} was written by a newer audiolla (its tables are at {found}, this program "
            f"knows up to {schema.HEAD}): start that version, or name another data directory"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
