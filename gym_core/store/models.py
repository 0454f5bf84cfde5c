"""The tables. A change here needs a revision in `migrations/versions`; a test compares the two.

JSON is kept as text that msgspec wrote; what queries select by has a column of its own. Token blobs lie in segments
(`blobs.py`), the row says where: SQLite pages of 4 KB are no place for them, nor is a table that replicas copy.

SQLite takes texts and numbers of any size whatever a column declares; PostgreSQL takes the declaration at its word, so
there the same columns are `text` and `bigint`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Float, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

BIG: TypeEngine[int] = Integer().with_variant(BigInteger(), "postgresql")


def name_type(length: int) -> TypeEngine[str]:
    """A short text; as long as it likes on PostgreSQL."""
    return String(length).with_variant(Text(), "postgresql")


class Base(DeclarativeBase):
    pass


class RunRow(Base):
    __tablename__ = "runs"

    run_id: Mapped[str] = mapped_column(name_type(128), primary_key=True)
    kind: Mapped[str] = mapped_column(name_type(32))
    recipe: Mapped[str] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(BIG)
    arm: Mapped[str] = mapped_column(name_type(32))
    status: Mapped[str] = mapped_column(name_type(32))
    created_at: Mapped[float] = mapped_column(Float)
    finished_at: Mapped[float | None] = mapped_column(Float)
    summary: Mapped[str] = mapped_column(Text)


class RolloutRow(Base):
    """`seq` is the order of commit; `record` the whole `Rollout`; `task_key` its row in `tasks`, "" where it came
    without; the other columns are for selection."""

    __tablename__ = "rollouts"
    __table_args__ = (
        UniqueConstraint("rollout_id", name="uq_rollouts_rollout_id"),
        Index("ix_rollouts_run", "run_id", "seq"),
        Index("ix_rollouts_group", "group_id"),
        Index("ix_rollouts_blob_file", "blob_file"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(BIG, primary_key=True)
    rollout_id: Mapped[str] = mapped_column(name_type(128))
    run_id: Mapped[str] = mapped_column(name_type(128))
    environment: Mapped[str] = mapped_column(name_type(128))
    task_id: Mapped[str] = mapped_column(name_type(256))
    group_id: Mapped[str] = mapped_column(name_type(256))
    step: Mapped[int] = mapped_column(BIG)
    outcome: Mapped[str] = mapped_column(name_type(16))
    reward: Mapped[float | None] = mapped_column(Float)
    created_at: Mapped[float] = mapped_column(Float)
    record: Mapped[str] = mapped_column(Text)
    blob_file: Mapped[str] = mapped_column(name_type(64))
    blob_offset: Mapped[int] = mapped_column(BIG)
    blob_length: Mapped[int] = mapped_column(BIG)
    blob_crc32: Mapped[int] = mapped_column(BIG)
    task_key: Mapped[str] = mapped_column(name_type(32), server_default="")


class TaskRow(Base):
    """Rows that were played, each once: a stored rollout can be graded again. `task_key` is a hash of `row`."""

    __tablename__ = "tasks"

    task_key: Mapped[str] = mapped_column(name_type(32), primary_key=True)
    row: Mapped[str] = mapped_column(Text)


class SettingRow(Base):
    """What the database knows of itself; see `settings.py`."""

    __tablename__ = "store_settings"

    name: Mapped[str] = mapped_column(name_type(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class MetricsRow(Base):
    __tablename__ = "metrics"

    run_id: Mapped[str] = mapped_column(name_type(128), primary_key=True)
    step: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    values_json: Mapped[str] = mapped_column("values", Text)


class ProfileRow(Base):
    __tablename__ = "task_profiles"

    environment: Mapped[str] = mapped_column(name_type(128), primary_key=True)
    task_id: Mapped[str] = mapped_column(name_type(256), primary_key=True)
    checkpoint: Mapped[str] = mapped_column(name_type(256), primary_key=True)
    passes: Mapped[float] = mapped_column(Float)
    count: Mapped[int] = mapped_column(BIG)
