"""What an environment author writes: tasks, tools, `verify`, and an oracle that proves the maximum can be reached.

    class Countdown(Environment):
        \"\"\"Reach the target with the given numbers; 1.0 exact, 0.0 otherwise.\"\"\"
        name = "countdown"

        def make(self, rng, level): ...                  # {"prompt": ..., anything else stays hidden}
        @tool
        def calculate(self, expression: str) -> str: ...
        def verify(self, task, session, reply): ...      # a float, or a Verdict with components
        def oracle(self, task): ...                      # a reply, or a Script of tool calls and a reply

One object serves every session: what belongs to one rollout lies in its `session`, never on `self`. Methods may be
`async`. With `worker = True`, `make`, `ingest` and the `verify` methods run in warm worker processes that are killed
when they overrun, so they may be slow and import what they like (import heavy libraries inside the methods). Tools,
`setup` and `close` stay in the service, where the sessions are.

Where a language model has to have the last word, `judge` comes after `verify`, in the service and on its event loop,
when the service has a judge ([judge] in its config):

        async def judge(self, task, session, reply, verdict, judge):
            if verdict.reward == 1.0 or not verdict.details.get("undecided"):
                return verdict                               # what is decided costs no call
            ruling = await judge.ask(EQUIVALENCE, question=task["question"], first=task["gold"], second=reply.text)
            return float(ruling.value)                       # protocols: gym_core.judge.protocols
"""

from __future__ import annotations

import random
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from gym_core.contracts import Grading, Task, Verdict
from gym_core.errors import JudgeFault
from gym_core.reply import Reply
from gym_core.tools import USER_TURN, ToolFault, ToolSpec, tool, tool_specs

if TYPE_CHECKING:
    from gym_core.judge.judge import Judge

__all__ = [
    "Call",
    "CallRecord",
    "Environment",
    "Grading",
    "GroupEntry",
    "Reply",
    "Script",
    "Session",
    "Task",
    "ToolFault",
    "UserTurn",
    "Verdict",
    "say",
    "tool",
]


@dataclass(slots=True, frozen=True)
class CallRecord:
    """A tool call as the server saw it: what was asked, what was answered, whether it was an error."""

    name: str
    arguments: dict[str, Any]
    output: str
    ok: bool


@dataclass(slots=True, frozen=True)
class UserTurn:
    """What the policy said to the user, and what the user answered; None where the user has left.

    `key` is the Idempotency-Key it was asked for with.
    """

    reply: Reply
    message: str | None
    key: str = ""


@dataclass(slots=True)
class Session:
    """One rollout's private world. `state` is whatever `setup` returned; `calls` the tool calls so far, in order;
    `turns` the dialogue so far, without the prompt and without the policy's last words."""

    session_id: str
    task: Task
    state: Any = None
    calls: list[CallRecord] = field(default_factory=list)
    rng: random.Random = field(default_factory=random.Random)
    turns: list[UserTurn] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class GroupEntry:
    """One member of a group that is judged together."""

    rollout_id: str
    task: Task
    reply: Reply
    grading: Grading = Grading.STRICT


@dataclass(slots=True, frozen=True)
class Call:
    """A tool call of a script."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


def say(text: str) -> Call:
    """A step of a script in which the agent speaks to the user and waits for the answer."""
    return Call(USER_TURN, {"reply": text})


@dataclass(slots=True, frozen=True)
class Script:
    """What a perfect agent does: tool calls (and `say`) in order, then its final words."""

    calls: tuple[Call, ...] = ()
    reply: str = ""


class Environment:
    """A place where a policy is tested: tasks, tools and a verdict.

    Class attributes: `name` and `version` identify it; `levels` are the difficulties of `make`; `reward_range` bounds
    every reward, `published_range` those of the published grading where they are others; `max_steps` bounds the
    policy's turns of a rollout, `max_turns` the user's messages, the prompt included, where there is a `user`;
    `worker` moves the heavy methods into worker processes, where each call may take `verify_timeout_s`;
    `session_ttl_s` is how long an idle session lives; `state_type` declares the type of a session's state (a msgspec
    Struct or a dataclass whose fields are all there is): such sessions survive a restart of a server with a
    `state_dir`; found by itself where `setup` returns a Struct. `group_deadline_s` how long a group verdict waits for
    its last member. `needs_judge` refuses verdicts where the service has no judge, instead of giving those of `verify`
    alone. `pure` False keeps verdicts out of the cache: they depend on more than task and reply (a clock, a service
    elsewhere). Verdicts of sessions are never cached.
    """

    name: ClassVar[str] = ""
    version: ClassVar[str] = "1.0.0"
    levels: ClassVar[range] = range(5)
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    published_range: ClassVar[tuple[float, float] | None] = None
    max_steps: ClassVar[int] = 8
    max_turns: ClassVar[int] = 16
    worker: ClassVar[bool] = False
    verify_timeout_s: ClassVar[float] = 10.0
    session_ttl_s: ClassVar[float] = 900.0
    state_type: ClassVar[type | None] = None
    group_deadline_s: ClassVar[float] = 120.0
    needs_judge: ClassVar[bool] = False
    pure: ClassVar[bool] = True

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        """One task of this level from this generator.

        Returns `prompt` (text or Responses items), optionally `system` (text), `tools` (names of ours or whole
        declarations, default all of ours) and `public` (fields that travel with the row); every other key is hidden and
        reaches only `task[...]`.
        """
        raise NotImplementedError(f"{type(self).__name__} generates no tasks: give it rows, or write `make`")

    def reshape(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row without `responses_create_params`, of a shape that public data sets use, as a row that has them.

        Raises `BadRow` for one that cannot be used. Called at the door, before `ingest`.
        """
        return row

    def ingest(self, task: Task) -> Task:
        """Check a row from outside; return it, perhaps with prepared `hidden` fields.

        Raises `BadRow` with the field's path for what can never be graded. Hidden fields do not travel, so a row that
        comes back to be seeded or graded is ingested again: the same row must give the same task.
        """
        return task

    def setup(self, task: Task) -> Any:
        """The private state of a new session; None where the environment keeps none."""
        return None

    def close(self, session: Session) -> None:
        """Release what the session's state holds; called exactly once on every way out."""

    def verify(self, task: Task, session: Session, reply: Reply) -> float | Verdict:
        """Grade a finished rollout, strictly. A raised exception is an `env_error`, never a reward."""
        raise NotImplementedError(f"{type(self).__name__} needs `verify`")

    def oracle(self, task: Task) -> str | Script:
        """What earns the maximum on this task."""
        raise NotImplementedError(f"{type(self).__name__} has no oracle")

    def warm(self) -> None:
        """Called once in every fresh worker, before its first job and outside its time limit: import heavy things."""

    # Optional, recognised by being overridden ------------------------------------------------------------------

    def unavailable(self) -> str:
        """What this machine lacks for rollouts here, and how to get it; "" where nothing is missing.

        While it says something no session opens and no verdict is given: rollouts end as `env_error` with the code
        `unavailable`, never with a reward. Tasks are served all the same. Asked often: answer at once.
        """
        return ""

    def answers(self, task: Task) -> bool:
        """True where the tools of this task are declarations of its row, which `answer` answers in place of methods."""
        return True

    def answer(self, session: Session, name: str, arguments: dict[str, Any]) -> str | Awaitable[str]:
        """What a tool returns that the row declares and no method stands behind. Only declared names reach it.

        A `ToolFault` is what the policy reads; a `PalaestraError` ends the rollout as `env_error`.
        """
        raise NotImplementedError

    def user(self, task: Task, session: Session, reply: Reply) -> str | Awaitable[str | None] | None:
        """The user's next words after the policy's `reply` of this turn; None where the user has left.

        Called on the service's event loop; write `async` what waits. What it raises ends the rollout as `env_error`.
        """
        raise NotImplementedError

    def verify_published(self, task: Task, session: Session, reply: Reply) -> float | Verdict:
        """The public verifier's reward, bit for bit, its weaknesses included; logged beside the strict one."""
        raise NotImplementedError

    def verify_group(self, entries: list[GroupEntry]) -> list[float | Verdict]:
        """Grade the members of a group together, in the order given; `verify` is then not called."""
        raise NotImplementedError

    def verify_group_published(self, entries: list[GroupEntry]) -> list[float | Verdict]:
        """What `verify_published` is to `verify`, for a group."""
        raise NotImplementedError

    def judge_decides(self, task: Task) -> bool:
        """True where no verdict on this task counts before a judge has had its word; without one it is refused."""
        return self.needs_judge

    async def judge(
        self, task: Task, session: Session, reply: Reply, verdict: Verdict, judge: Judge
    ) -> float | Verdict:
        """The last word on what `verify` (of the grading asked for, see `verdict.grading`) left open.

        Return `verdict` where it stands, a number to replace its reward, or a new one. What was asked, and what that
        cost, is added to the details. Raises `JudgeFault` where the judge fails: the rollout ends as `judge_error`.
        """
        raise NotImplementedError

    async def judge_group(
        self, entries: list[GroupEntry], verdicts: list[Verdict], judge: Judge
    ) -> list[float | Verdict | JudgeFault]:
        """As `judge`, for a group: `verdicts` are those of `verify_group`, in the order of `entries`.

        A `JudgeFault` in a member's place is the outcome of that member alone; one that is raised is that of all.
        """
        raise NotImplementedError

    # What the server asks of the class -------------------------------------------------------------------------

    @classmethod
    def tool_specs(cls) -> dict[str, ToolSpec]:
        cached = cls.__dict__.get("_tool_specs")
        if cached is None:
            cached = tool_specs(cls)
            cls._tool_specs = cached  # type: ignore[attr-defined]
        return cached

    @classmethod
    def overrides(cls, method: str) -> bool:
        """True where the author wrote this optional method."""
        return getattr(cls, method) is not getattr(Environment, method)

    @classmethod
    def keeps_sessions(cls) -> bool:
        """False where a rollout is one reply and its verdict: then no session has to be seeded."""
        return bool(cls.tool_specs()) or cls.overrides("setup") or cls.talks()

    @classmethod
    def talks(cls) -> bool:
        """True where a user answers the policy, so that a rollout has several turns."""
        return cls.overrides("user")
