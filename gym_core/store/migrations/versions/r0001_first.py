"""First tables: runs, rollouts, metrics, task_profiles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(128), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("arm", sa.String(32), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float, nullable=True),
        sa.Column("summary", sa.Text, nullable=False),
    )
    op.create_table(
        "rollouts",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("rollout_id", sa.String(128), nullable=False),
        sa.Column("run_id", sa.String(128), nullable=False),
        sa.Column("environment", sa.String(128), nullable=False),
        sa.Column("task_id", sa.String(256), nullable=False),
        sa.Column("group_id", sa.String(256), nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reward", sa.Float, nullable=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("blob_file", sa.String(64), nullable=False),
        sa.Column("blob_offset", sa.Integer, nullable=False),
        sa.Column("blob_length", sa.Integer, nullable=False),
        sa.Column("blob_crc32", sa.Integer, nullable=False),
        sa.UniqueConstraint("rollout_id", name="uq_rollouts_rollout_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_rollouts_run", "rollouts", ["run_id", "seq"])
    op.create_index("ix_rollouts_group", "rollouts", ["group_id"])
    op.create_table(
        "metrics",
        sa.Column("run_id", sa.String(128), primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("values", sa.Text, nullable=False),
    )
    op.create_table(
        "task_profiles",
        sa.Column("environment", sa.String(128), primary_key=True),
        sa.Column("task_id", sa.String(256), primary_key=True),
        sa.Column("checkpoint", sa.String(256), primary_key=True),
        sa.Column("passes", sa.Float, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    for table in ("task_profiles", "metrics", "rollouts", "runs"):
        op.drop_table(table)
