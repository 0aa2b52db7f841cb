"""What Alembic runs: the migrations, on the connection that storage/migrate.py opened."""

from alembic import context

from ingle.storage.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
