"""The rows that were played, what the database knows of itself, and segments found by name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gym_core.store.models import name_type

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("task_key", name_type(32), primary_key=True),
        sa.Column("row", sa.Text, nullable=False),
    )
    op.create_table(
        "store_settings",
        sa.Column("name", name_type(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.add_column("rollouts", sa.Column("task_key", name_type(32), nullable=False, server_default=""))
    op.create_index("ix_rollouts_blob_file", "rollouts", ["blob_file"])


def downgrade() -> None:
    op.drop_index("ix_rollouts_blob_file", "rollouts")
    with op.batch_alter_table("rollouts") as table:
        table.drop_column("task_key")
    for table_name in ("store_settings", "tasks"):
        op.drop_table(table_name)
