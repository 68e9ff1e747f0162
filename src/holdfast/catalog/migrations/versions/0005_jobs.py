"""Jobs, their parts and failures, and schedules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

Bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    _jobs()
    _parts()
    _failures()
    _schedules()
    _batches()


def _jobs() -> None:
    op.create_table(
        "jobs",
        _key("id"),
        sa.Column("tenant", Bytewise, nullable=False),
        _text("kind"),
        _text("spec"),
        _text("state"),
        _text("principal"),
        _number("created"),
        sa.Column("started", sa.BigInteger),
        sa.Column("ended", sa.BigInteger),
        _number("updated"),
        sa.Column("total", sa.BigInteger),
        sa.Column("total_bytes", sa.BigInteger),
        _text("counts"),
        _text("recent"),
        sa.Column("pace_objects", sa.Float),
        sa.Column("pace_bytes", sa.BigInteger),
        *(_count("parts"), _count("parts_done"), _count("round")),
        *(_text("schedule"), _text("trouble"), _text("result")),
        sa.Column("expires", sa.BigInteger),
        _count("failures"),
        _text("worker"),
        _number("fence"),
        _number("ready"),
        _count("tries"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_jobs_tenant_id", "jobs", ["tenant", "id"])
    op.create_index("ix_jobs_ready", "jobs", ["ready"])
    op.create_index("ix_jobs_expires", "jobs", ["expires"])
    op.create_index("ix_jobs_kind_state", "jobs", ["kind", "state"])


def _parts() -> None:
    op.create_table(
        "job_parts",
        _key("job_id"),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *(_text("range_start"), _text("range_end"), _text("place")),
        sa.Column("over", sa.Boolean, nullable=False),
        _number("fence"),
        _text("worker"),
        _number("ready"),
        _text("counts"),
        _count("tries"),
        *(_text("trouble"), _text("mark")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_job_parts_ready", "job_parts", ["ready"])


def _failures() -> None:
    op.create_table(
        "job_failures",
        _key("job_id"),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *(_text(name) for name in ("tenant", "bucket", "key", "version_id", "code", "message")),
        _number("at"),
        sqlite_with_rowid=False,
    )


def _schedules() -> None:
    op.create_table(
        "schedules",
        _key("tenant"),
        _key("name"),
        *(_text("kind"), _text("spec"), _text("cron")),
        sa.Column("pace_objects", sa.Float),
        sa.Column("pace_bytes", sa.BigInteger),
        sa.Column("enabled", sa.Boolean, nullable=False),
        _number("next_at"),
        _text("last_job"),
        _text("principal"),
        _number("created"),
        _number("updated"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_schedules_next_at", "schedules", ["next_at"])


def _batches() -> None:
    op.add_column("batches", sa.Column("job_id", Bytewise))
    op.add_column("batches", sa.Column("begun", sa.Text))
    op.create_table(
        "batch_items",
        *(_key("tenant"), _key("job_id")),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *(_text("items"), _number("expires")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_batch_items_expires", "batch_items", ["expires"])


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, Bytewise, primary_key=True)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)
