"""What the environment service is told."""

from __future__ import annotations

import msgspec


class EnvironmentServiceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every `_s` is seconds.

    `workers` processes serve all environments that have `worker = True`, each recycled after `worker_jobs` jobs;
    `queue_limit` callers of each environment may wait for them. The last `verdict_cache` verdicts are kept, for
    environments without sessions (0: none). `session_capacity` bounds the open sessions of one environment.
    `session_secret` signs session ids (empty: random per process); `worker` is this process's name in them.
    `state_dir` keeps sessions whose environment declares their state over a restart (`gym_core/snapshots.py`), and the
    secret that their ids are signed with.
    """

    token: str | None = None
    workers: int = 2
    queue_limit: int = 512
    worker_memory_mb: int = 4096
    worker_jobs: int = 2000
    verdict_cache: int = 16_384
    session_capacity: int = 4096
    session_secret: str = ""
    worker: str = ""
    state_dir: str = ""
    tool_s: float = 60.0
    user_s: float = 120.0
    tasks_s: float = 60.0
    max_body_bytes: int = 32 << 20
