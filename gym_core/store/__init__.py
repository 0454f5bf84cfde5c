"""The store: SQLite through SQLAlchemy, token blobs in files beside it."""

from gym_core.store.fault import StoreFault
from gym_core.store.records import Run
from gym_core.store.store import Store

__all__ = ["Run", "Store", "StoreFault"]
