"""The nouns of Palaestra (DESIGN §3), typed and versioned: everything stored or sent is one of these.

    task ─▶ session ─▶ rollout {trace, trace, …} ─▶ verdict ─▶ group ─▶ advantage

Text and tokens travel apart: a `Rollout` is small JSON, its traces are the binary of `gym_core.tokens`, and
`TraceInfo` says which bytes belong to which trace. Dataclass-like `msgspec.Struct`s: decoding validates types and
names the path of what does not fit.
"""

from __future__ import annotations

import hashlib
import math
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gym_core.errors import BadRow, ErrorInfo, misfit

CONTRACT_VERSION = 1
"""Raised when a stored or sent record changes meaning; readers refuse a newer one."""

RUN_KEY = "palaestra"
"""Key of a row under which our own run options travel (`RunOptions`); never part of the task."""


class Outcome(StrEnum):
    """How a rollout ended. An infrastructure failure is never a reward of zero."""

    SCORED = "scored"
    TRUNCATED = "truncated"
    ENV_ERROR = "env_error"
    POLICY_ERROR = "policy_error"
    JUDGE_ERROR = "judge_error"
    CANCELLED = "cancelled"

    @property
    def trainable(self) -> bool:
        """Only these may reach an advantage."""
        return self in (Outcome.SCORED, Outcome.TRUNCATED)


class Grading(StrEnum):
    """`strict` is ours and the default; `published` is bit-compatible with the public verifier, weaknesses included."""

    STRICT = "strict"
    PUBLISHED = "published"


class TaskRef(msgspec.Struct, frozen=True, kw_only=True):
    """Where a generated task comes from: the server makes it again from here, so hidden fields never travel."""

    seed: int
    level: int
    index: int
    split: str = "train"


class Task(msgspec.Struct, kw_only=True):
    """One row: OpenAI Responses create parameters and the environment's own fields.

    `fields` keeps every other key of the row as it came and is echoed; `hidden` exists only inside the environment's
    process and is never encoded. `task["name"]` looks in hidden fields first, then in the row's.
    """

    environment: str
    task_id: str
    responses_create_params: dict[str, Any]
    fields: dict[str, Any] = {}
    ref: TaskRef | None = None
    hidden: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name in self.hidden:
            return self.hidden[name]
        return self.fields[name]

    def get(self, name: str, default: Any = None) -> Any:
        if name in self.hidden:
            return self.hidden[name]
        return self.fields.get(name, default)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The input as a list of items; a plain string becomes one user message."""
        given = self.responses_create_params["input"]
        return [{"role": "user", "content": given}] if isinstance(given, str) else given

    @property
    def tools(self) -> list[dict[str, Any]]:
        return self.responses_create_params.get("tools") or []

    @classmethod
    def from_row(cls, row: dict[str, Any], environment: str = "") -> Task:
        """Split a JSON row into its parts. Raises `BadRow` naming the field that does not fit."""
        if not isinstance(row, dict):
            raise BadRow(f"a row must be a JSON object, not {type(row).__name__}", field="")
        params = row.get("responses_create_params")
        if not isinstance(params, dict):
            raise BadRow(
                "a row needs `responses_create_params`, an object of OpenAI Responses create parameters",
                field="responses_create_params",
                hint='for example {"input": "What is 2 + 2?"}',
            )
        given = params.get("input")
        if not (isinstance(given, str) or (isinstance(given, list) and given)) or given == "":
            raise BadRow("`input` must be text or a non-empty list of items", field="responses_create_params.input")
        if isinstance(given, list):
            for number, item in enumerate(given):
                if not isinstance(item, dict):
                    raise BadRow("an input item must be an object", field=f"responses_create_params.input[{number}]")
        _check_tools(params.get("tools"))
        fields = {key: value for key, value in row.items() if key not in _ROW_KEYS}
        if isinstance(row.get("task_id"), int):
            fields["task_id"] = row["task_id"]  # a number, which is echoed as one
        ref = row.get("task_ref")
        return cls(
            environment=environment or row.get("environment") or "",
            task_id=str(row.get("task_id") or content_id(params, fields)),
            responses_create_params=params,
            fields=fields,
            ref=None if ref is None else _task_ref(ref),
        )

    def to_row(self) -> dict[str, Any]:
        """The row as it may leave the server: unknown fields echoed, hidden ones absent."""
        row: dict[str, Any] = {
            **self.fields,
            "environment": self.environment,
            "task_id": self.fields.get("task_id", self.task_id),
            "responses_create_params": self.responses_create_params,
        }
        if self.ref is not None:
            row["task_ref"] = msgspec.to_builtins(self.ref)
        return row


_ROW_KEYS = frozenset({"environment", "task_id", "responses_create_params", "task_ref", RUN_KEY})


def _check_tools(tools: Any) -> None:
    if tools is not None and not isinstance(tools, list):
        raise BadRow("`tools` must be a list of tools", field="responses_create_params.tools")
    for number, tool in enumerate(tools or ()):
        if not isinstance(tool, dict):
            raise BadRow("a tool must be an object", field=f"responses_create_params.tools[{number}]")


def _task_ref(value: Any) -> TaskRef:
    try:
        return msgspec.convert(value, TaskRef)
    except msgspec.ValidationError as error:
        what, path = misfit(error)
        raise BadRow(what, field=f"task_ref{path}") from None


def content_id(params: dict[str, Any], fields: dict[str, Any]) -> str:
    """Identity of a row by what it says: the same row gives the same id in any process."""
    payload = msgspec.json.encode([params, fields], order="deterministic")
    return hashlib.blake2b(payload, digest_size=8).hexdigest()


class Verdict(msgspec.Struct, kw_only=True):
    """What an environment says of a rollout.

    `gradings` holds the reward under each grading the environment knows; `reward` is the one of `grading`.
    """

    reward: float
    components: dict[str, float] = {}
    details: dict[str, Any] = {}
    grading: Grading = Grading.STRICT
    gradings: dict[str, float] = {}

    def __post_init__(self) -> None:
        if not math.isfinite(self.reward):
            raise ValueError(f"a reward must be finite, not {self.reward}")


class UserMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What the user answers the policy; None where the user has left. `turn` counts the answers from 1."""

    message: str | None
    turn: int = 0


class PendingVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """A group verdict that is not there yet: ask `/group_verdict` again until `deadline_s` has passed."""

    group_id: str
    have: int
    want: int
    deadline_s: float


_MOST = (1 << 63) - 1
"""Of a number that is kept: columns of tables have 64 bits."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the policy samples; `None` leaves the choice to the row, then to the policy server.

    `routed_experts`: have it record which experts each token was sent to, for a learner that replays the routing.
    """

    temperature: Annotated[float, Meta(ge=0)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop: list[str] | None = None
    thinking: bool | None = None
    routed_experts: bool | None = None


class RunOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the caller of `/run` says about this rollout, under the row's key `palaestra`.

    `group_id` is explicit, never inferred; `rollout_id` is the idempotency key: the same id returns the same rollout.
    `step` is the policy step the rollout was drawn for; `labels` are echoed. `max_turns` bounds the user's messages,
    the prompt included, where the environment has a user.
    """

    rollout_id: str = ""
    run_id: str = ""
    group_id: str = ""
    group_size: Annotated[int, Meta(ge=1, le=_MOST)] = 1
    repeat: Annotated[int, Meta(ge=0, le=_MOST)] = 0
    seed: Annotated[int, Meta(ge=-_MOST - 1, le=_MOST)] = 0
    step: Annotated[int, Meta(ge=-_MOST - 1, le=_MOST)] = 0
    deadline_s: float = 300.0
    max_steps: Annotated[int, Meta(ge=0)] | None = None
    max_turns: Annotated[int, Meta(ge=0)] | None = None
    grading: Grading = Grading.STRICT
    sampling: Sampling = Sampling()
    labels: dict[str, str] = {}


class TraceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Which bytes of the rollout's token blob are this trace, and why it began (`start`, or what rewrote history)."""

    offset: int
    num_bytes: int
    num_tokens: int
    num_trainable: int
    began: str = "start"


class Usage(msgspec.Struct, kw_only=True):
    """Counts of one rollout."""

    input_tokens: int = 0
    output_tokens: int = 0
    turns: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    user_turns: int = 0


NOT_KEPT = "store"
"""The stage at which a rollout fails that was played and could not be kept."""


class Rollout(msgspec.Struct, kw_only=True):
    """One played task: text plane, verdict and outcome; the token plane lies beside it (`TraceInfo`)."""

    rollout_id: str
    environment: str
    task_id: str
    outcome: Outcome
    run_id: str = ""
    environment_version: str = ""
    group_id: str = ""
    group_size: int = 1
    repeat: int = 0
    seed: int = 0
    step: int = 0
    verdict: Verdict | None = None
    error: ErrorInfo | None = None
    output: list[dict[str, Any]] = []
    finish_reason: str = ""
    policy_version_min: int = -1
    policy_version_max: int = -1
    traces: list[TraceInfo] = []
    usage: Usage = msgspec.field(default_factory=Usage)
    timings_ms: dict[str, float] = {}
    labels: dict[str, str] = {}
    created_at: float = 0.0
    contract_version: int = CONTRACT_VERSION

    @property
    def reward(self) -> float | None:
        """The verdict's reward, or None where there is no verdict. Never a made-up number."""
        return None if self.verdict is None else self.verdict.reward

    @property
    def kept(self) -> bool:
        """False where the store refused it: nobody will find it there, and its id may be played again."""
        return self.error is None or self.error.stage != NOT_KEPT


class Group(msgspec.Struct, kw_only=True):
    """The rollouts of one task in one step."""

    group_id: str
    task_id: str
    environment: str
    rollouts: list[Rollout]


class TaskProfile(msgspec.Struct, kw_only=True):
    """How often a checkpoint solves a task: `passes` of `count` tries (a beta posterior's two numbers)."""

    environment: str
    task_id: str
    checkpoint: str
    passes: float
    count: int

    @property
    def pass_rate(self) -> float:
        """Posterior mean under a uniform prior, in (0, 1)."""
        return (self.passes + 1.0) / (self.count + 2.0)
