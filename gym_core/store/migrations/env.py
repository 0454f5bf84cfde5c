"""Run by Alembic: migrates over the connection that `gym_core.store.engine` hands in, inside its transaction."""

from __future__ import annotations

from alembic import context

from gym_core.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
