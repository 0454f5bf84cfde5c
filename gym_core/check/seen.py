"""What the probe (a process of its own) sees of an environment from inside, as JSON for the gate."""

from __future__ import annotations

from typing import Any

import msgspec

from gym_core.environment import Call, Script


class ProbeRequest(msgspec.Struct, kw_only=True):
    """`place` is a manifest or a Python file. Of each level `train` and `heldout` tasks with different prompts are made
    from `seed`; with `refs` only those are made again, in the order given. `rows` are rows from outside, which stand
    for tasks where the environment generates none."""

    place: str
    name: str
    seed: int = 0
    train: int = 0
    heldout: int = 0
    refs: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []


class SeenTask(msgspec.Struct, kw_only=True):
    """A task with what the service hides: `digest` of everything in it, `secrets` (its hidden values as text, by path),
    the oracle's script, and `unsteady` where making it again gave something else, `lossy` where JSON changes it."""

    row: dict[str, Any]
    digest: str
    level: int = -1
    split: str = ""
    secrets: dict[str, str] = {}
    calls: list[tuple[str, dict[str, Any]]] = []
    reply: str = ""
    oracle_error: str = ""
    unsteady: bool = False
    lossy: str = ""

    @property
    def script(self) -> Script:
        return Script(tuple(Call(name, arguments) for name, arguments in self.calls), self.reply)

    @property
    def prompt(self) -> str:
        """All text of the input that the policy reads."""
        given = self.row["responses_create_params"]["input"]
        if isinstance(given, str):
            return given
        parts = [item.get("content") for item in given]
        texts = [part if isinstance(part, str) else msgspec.json.encode(part).decode() for part in parts]
        return "\n".join(texts)


class Seen(msgspec.Struct, kw_only=True):
    """`has` names the methods that the author wrote; `faults` are exceptions by the stage they came from;
    `numpy_drawn` says that numpy's global generator moved while tasks were made."""

    name: str
    version: str
    doc: str
    levels: list[int]
    reward_range: tuple[float, float]
    has: list[str]
    tools: list[dict[str, Any]]
    keeps_sessions: bool
    worker: bool
    session_ttl_s: float
    verify_timeout_s: float
    needs_judge: bool = False
    unavailable: str = ""
    network: str = "none"
    faults: dict[str, str] = {}
    tasks: list[SeenTask] = []
    digests: list[str] = []
    tasks_per_s: float | None = None
    numpy_drawn: bool = False
