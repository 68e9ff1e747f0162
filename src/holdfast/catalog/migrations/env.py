"""Alembic's entry: run the steps, as SQL text that `holdfast.catalog.upgrading` executes on the bare drivers."""

from __future__ import annotations

from alembic import context

from holdfast.catalog.schema import metadata

context.configure(
    dialect_name=context.config.attributes["dialect"],
    target_metadata=metadata,
    as_sql=True,
    output_buffer=context.config.attributes["output"],
    literal_binds=True,
    render_as_batch=False,
    transactional_ddl=False,
    dialect_opts={"paramstyle": "named"},
)
context.run_migrations()
