"""The tables. A change here needs a revision in `migrations/versions`; a test compares the two.

JSON is kept as text that msgspec wrote; what queries select by has a column of its own. Token blobs lie in segments
(`blobs.py`), the row says where: SQLite pages of 4 KB are no place for them, nor is a table that replicas copy.

SQLite takes texts and numbers of any size whatever a column declares; PostgreSQL takes the declaration at its word, so
there the same columns are `text` and `bigint`.

Nothing is ever loaded as an object, so these are tables and columns without SQLAlchemy's mapper: 6 MB of each agent.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

BIG: TypeEngine[int] = Integer().with_variant(BigInteger(), "postgresql")


def name_type(length: int) -> TypeEngine[str]:
    """A short text; as long as it likes on PostgreSQL."""
    return String(length).with_variant(Text(), "postgresql")


class Base:
    """A table as a class: its columns are attributes, and it is taken itself where a statement wants a table."""

    metadata: ClassVar = MetaData()
    __table__: ClassVar[Table]
    __tablename__: ClassVar[str]
    __table_args__: ClassVar[tuple[SchemaItem, ...]] = ()
    __table_options__: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        columns = {name: value for name, value in vars(cls).items() if isinstance(value, Column)}
        for name, column in columns.items():
            column.key = name
            column.name = column.name or name
        parts = (*columns.values(), *cls.__table_args__)
        cls.__table__ = Table(cls.__tablename__, Base.metadata, *parts, **cls.__table_options__)

    @classmethod
    def __clause_element__(cls) -> Table:
        return cls.__table__


class RunRow(Base):
    __tablename__ = "runs"

    run_id: ColumnElement[str] = Column(name_type(128), primary_key=True)
    kind: ColumnElement[str] = Column(name_type(32), nullable=False)
    recipe: ColumnElement[str] = Column(Text, nullable=False)
    seed: ColumnElement[int] = Column(BIG, nullable=False)
    arm: ColumnElement[str] = Column(name_type(32), nullable=False)
    status: ColumnElement[str] = Column(name_type(32), nullable=False)
    created_at: ColumnElement[float] = Column(Float, nullable=False)
    finished_at: ColumnElement[float | None] = Column(Float)
    summary: ColumnElement[str] = Column(Text, nullable=False)


class RolloutRow(Base):
    """`seq` is the order of commit; `record` the whole `Rollout`; `task_key` its row in `tasks`, "" where it came
    without; the other columns are for selection."""

    __tablename__ = "rollouts"
    __table_args__: ClassVar = (
        UniqueConstraint("rollout_id", name="uq_rollouts_rollout_id"),
        Index("ix_rollouts_run", "run_id", "seq"),
        Index("ix_rollouts_group", "group_id"),
        Index("ix_rollouts_blob_file", "blob_file"),
    )
    __table_options__: ClassVar = {"sqlite_autoincrement": True}

    seq: ColumnElement[int] = Column(BIG, primary_key=True)
    rollout_id: ColumnElement[str] = Column(name_type(128), nullable=False)
    run_id: ColumnElement[str] = Column(name_type(128), nullable=False)
    environment: ColumnElement[str] = Column(name_type(128), nullable=False)
    task_id: ColumnElement[str] = Column(name_type(256), nullable=False)
    group_id: ColumnElement[str] = Column(name_type(256), nullable=False)
    step: ColumnElement[int] = Column(BIG, nullable=False)
    outcome: ColumnElement[str] = Column(name_type(16), nullable=False)
    reward: ColumnElement[float | None] = Column(Float)
    created_at: ColumnElement[float] = Column(Float, nullable=False)
    record: ColumnElement[str] = Column(Text, nullable=False)
    blob_file: ColumnElement[str] = Column(name_type(64), nullable=False)
    blob_offset: ColumnElement[int] = Column(BIG, nullable=False)
    blob_length: ColumnElement[int] = Column(BIG, nullable=False)
    blob_crc32: ColumnElement[int] = Column(BIG, nullable=False)
    task_key: ColumnElement[str] = Column(name_type(32), server_default="", nullable=False)


class TaskRow(Base):
    """Rows that were played, each once: a stored rollout can be graded again. `task_key` is a hash of `row`."""

    __tablename__ = "tasks"

    task_key: ColumnElement[str] = Column(name_type(32), primary_key=True)
    row: ColumnElement[str] = Column(Text, nullable=False)


class SettingRow(Base):
    """What the database knows of itself; see `settings.py`."""

    __tablename__ = "store_settings"

    name: ColumnElement[str] = Column(name_type(64), primary_key=True)
    value: ColumnElement[str] = Column(Text, nullable=False)


class MetricsRow(Base):
    __tablename__ = "metrics"

    run_id: ColumnElement[str] = Column(name_type(128), primary_key=True)
    step: ColumnElement[int] = Column(BIG, primary_key=True, autoincrement=False)
    values_json: ColumnElement[str] = Column("values", Text, nullable=False)


class ProfileRow(Base):
    __tablename__ = "task_profiles"

    environment: ColumnElement[str] = Column(name_type(128), primary_key=True)
    task_id: ColumnElement[str] = Column(name_type(256), primary_key=True)
    checkpoint: ColumnElement[str] = Column(name_type(256), primary_key=True)
    passes: ColumnElement[float] = Column(Float, nullable=False)
    count: ColumnElement[int] = Column(BIG, nullable=False)
