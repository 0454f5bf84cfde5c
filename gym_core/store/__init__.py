"""The store: SQLite or PostgreSQL through SQLAlchemy, token blobs in segments beside it."""

from gym_core.store.compact import Compacted
from gym_core.store.fault import StoreFault
from gym_core.store.prune import Pruned
from gym_core.store.records import Played, Run, Stored, Total
from gym_core.store.store import Store

__all__ = ["Compacted", "Played", "Pruned", "Run", "Store", "StoreFault", "Stored", "Total"]
