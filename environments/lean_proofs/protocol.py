"""The words of the Lean REPL: JSON commands, each ended by an empty line, and the answers to them.

    {"cmd": "theorem …", "env": 0}        ─▶ {"env": 1, "messages": [{severity, pos, endPos, data}], "sorries": […]}
    {"path": "File.lean"}                 ─▶ the same, for a file
    {"tactic": "simp", "proofState": 0}   ─▶ {"proofState": 1, "goals": [...], "proofStatus": "Completed"}
    {"pickleTo": "a.olean", "env": 0}, {"unpickleEnvFrom": "a.olean"}, {"unpickleProofStateFrom": "a.olean"}
    anything that cannot be done          ─▶ {"message": "Unknown environment."}

Source: leanprover-community/repl. Without `env` a command starts from nothing, and only then may it import.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Pos(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place in what was sent: `line` from 1, `column` from 0."""

    line: int
    column: int


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Lean commands to elaborate, in the environment `env` or, without it, from the beginning."""

    cmd: str
    env: int | None = None
    allTactics: bool = False
    rootGoals: bool = False
    infotree: str = ""
    gc: bool = False


class FileCommand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file to elaborate."""

    path: str
    env: int | None = None
    allTactics: bool = False
    rootGoals: bool = False
    infotree: str = ""


class TacticCommand(msgspec.Struct, frozen=True, kw_only=True):
    """One tactic on a proof state."""

    tactic: str
    proofState: int


class PickleTo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Write an environment, or a proof state, to a file."""

    pickleTo: str
    env: int | None = None
    proofState: int | None = None


class UnpickleEnv(msgspec.Struct, frozen=True, kw_only=True):
    unpickleEnvFrom: str


class UnpickleProofState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    unpickleProofStateFrom: str
    env: int | None = None


AnyCommand = Command | FileCommand | TacticCommand | PickleTo | UnpickleEnv | UnpickleProofState
KINDS: tuple[tuple[str, type[Any]], ...] = (
    ("cmd", Command),
    ("path", FileCommand),
    ("tactic", TacticCommand),
    ("pickleTo", PickleTo),
    ("unpickleEnvFrom", UnpickleEnv),
    ("unpickleProofStateFrom", UnpickleProofState),
)
"""The key that tells the kind of a command."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What Lean says about a place; `lean --json` says it with the same names."""

    severity: Literal["error", "warning", "info", "information", "trace"]
    data: str
    pos: Pos
    endPos: Pos | None = None


class Sorry(msgspec.Struct, frozen=True, kw_only=True):
    """A hole, its goal, and the state from which to go on."""

    goal: str
    proofState: int | None = None
    pos: Pos | None = None
    endPos: Pos | None = None


class TacticSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One tactic of a proof, as `allTactics` tells it."""

    tactic: str
    goals: str
    pos: Pos
    endPos: Pos
    proofState: int | None = None
    usedConstants: list[str] = []


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of any kind; which fields are there follows from the command.

    `message` is a refusal: the REPL did not do what was asked.
    """

    env: int | None = None
    messages: list[Message] = []
    sorries: list[Sorry] = []
    tactics: list[TacticSeen] = []
    infotree: Any = None
    proofState: int | None = None
    proofStatus: str = ""
    goals: list[str] = []
    traces: list[str] = []
    message: str = ""

    @property
    def errors(self) -> list[Message]:
        return [message for message in self.messages if message.severity == "error"]

    @property
    def completed(self) -> bool:
        """Whether a tactic ended its proof, without a hole."""
        return self.proofStatus == "Completed" and not self.goals and not self.errors


def encode(command: AnyCommand) -> bytes:
    """A command on the wire."""
    return msgspec.json.encode(command) + b"\n\n"


def decode_command(text: bytes | str) -> AnyCommand:
    """A command from its JSON (recorded exchanges, tests). Raises `msgspec.ValidationError`."""
    found = msgspec.json.decode(text)
    for key, kind in KINDS:
        if key in found:
            command: AnyCommand = msgspec.convert(found, kind)
            return command
    raise msgspec.ValidationError(f"no command of the REPL has these keys: {', '.join(found)}")


def decode(text: bytes) -> Answer:
    """An answer from its JSON. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(text, type=Answer)
