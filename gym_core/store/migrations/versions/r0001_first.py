"""First tables: runs, rollouts, metrics, task_profiles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gym_core.store.models import BIG, name_type

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", name_type(128), primary_key=True),
        sa.Column("kind", name_type(32), nullable=False),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("seed", BIG, nullable=False),
        sa.Column("arm", name_type(32), nullable=False),
        sa.Column("status", name_type(32), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float, nullable=True),
        sa.Column("summary", sa.Text, nullable=False),
    )
    op.create_table(
        "rollouts",
        sa.Column("seq", BIG, primary_key=True),
        sa.Column("rollout_id", name_type(128), nullable=False),
        sa.Column("run_id", name_type(128), nullable=False),
        sa.Column("environment", name_type(128), nullable=False),
        sa.Column("task_id", name_type(256), nullable=False),
        sa.Column("group_id", name_type(256), nullable=False),
        sa.Column("step", BIG, nullable=False),
        sa.Column("outcome", name_type(16), nullable=False),
        sa.Column("reward", sa.Float, nullable=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("blob_file", name_type(64), nullable=False),
        sa.Column("blob_offset", BIG, nullable=False),
        sa.Column("blob_length", BIG, nullable=False),
        sa.Column("blob_crc32", BIG, nullable=False),
        sa.UniqueConstraint("rollout_id", name="uq_rollouts_rollout_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_rollouts_run", "rollouts", ["run_id", "seq"])
    op.create_index("ix_rollouts_group", "rollouts", ["group_id"])
    op.create_table(
        "metrics",
        sa.Column("run_id", name_type(128), primary_key=True),
        sa.Column("step", BIG, primary_key=True, autoincrement=False),
        sa.Column("values", sa.Text, nullable=False),
    )
    op.create_table(
        "task_profiles",
        sa.Column("environment", name_type(128), primary_key=True),
        sa.Column("task_id", name_type(256), primary_key=True),
        sa.Column("checkpoint", name_type(256), primary_key=True),
        sa.Column("passes", sa.Float, nullable=False),
        sa.Column("count", BIG, nullable=False),
    )


def downgrade() -> None:
    for table in ("task_profiles", "metrics", "rollouts", "runs"):
        op.drop_table(table)
