"""Alembic's entry: runs the revisions on the connection that it is handed."""

from alembic import context

from daemon import schema

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=schema.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
