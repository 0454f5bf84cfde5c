"""The tables. A change here needs a revision in `migrations/versions`; a test compares the two.

JSON is kept as text that msgspec wrote; what queries select by has a column of its own. Token blobs lie in files
(`blobs.py`), the row says where: SQLite pages of 4 KB are no place for them.
"""

from __future__ import annotations

from sqlalchemy import Float, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class RunRow(Base):
    __tablename__ = "runs"

    run_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    recipe: Mapped[str] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(Integer)
    arm: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[float] = mapped_column(Float)
    finished_at: Mapped[float | None] = mapped_column(Float)
    summary: Mapped[str] = mapped_column(Text)


class RolloutRow(Base):
    """`seq` is the order of commit; `record` the whole `Rollout`; the columns between are for selection."""

    __tablename__ = "rollouts"
    __table_args__ = (
        UniqueConstraint("rollout_id", name="uq_rollouts_rollout_id"),
        Index("ix_rollouts_run", "run_id", "seq"),
        Index("ix_rollouts_group", "group_id"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    rollout_id: Mapped[str] = mapped_column(String(128))
    run_id: Mapped[str] = mapped_column(String(128))
    environment: Mapped[str] = mapped_column(String(128))
    task_id: Mapped[str] = mapped_column(String(256))
    group_id: Mapped[str] = mapped_column(String(256))
    step: Mapped[int] = mapped_column(Integer)
    outcome: Mapped[str] = mapped_column(String(16))
    reward: Mapped[float | None] = mapped_column(Float)
    created_at: Mapped[float] = mapped_column(Float)
    record: Mapped[str] = mapped_column(Text)
    blob_file: Mapped[str] = mapped_column(String(64))
    blob_offset: Mapped[int] = mapped_column(Integer)
    blob_length: Mapped[int] = mapped_column(Integer)
    blob_crc32: Mapped[int] = mapped_column(Integer)


class MetricsRow(Base):
    __tablename__ = "metrics"

    run_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    values_json: Mapped[str] = mapped_column("values", Text)


class ProfileRow(Base):
    __tablename__ = "task_profiles"

    environment: Mapped[str] = mapped_column(String(128), primary_key=True)
    task_id: Mapped[str] = mapped_column(String(256), primary_key=True)
    checkpoint: Mapped[str] = mapped_column(String(256), primary_key=True)
    passes: Mapped[float] = mapped_column(Float)
    count: Mapped[int] = mapped_column(Integer)
