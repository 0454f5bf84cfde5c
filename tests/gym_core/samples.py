"""Small environments for the tests of the service. Loaded by path, as workers do: `load_file(HERE / "samples.py")`."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from typing import Any, ClassVar

import msgspec

from gym_core.environment import (
    Call,
    Environment,
    GroupEntry,
    Reply,
    Script,
    Session,
    Task,
    ToolFault,
    Verdict,
    tool,
)
from gym_core.errors import BadRow, JudgeFault
from gym_core.judge.judge import Judge
from gym_core.judge.protocols import EQUIVALENCE


class Sums(Environment):
    """Add two numbers; 1.0 for the sum. No session, no worker, a published grading that looks anywhere."""

    name = "sums"
    version = "1.2.0"

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        top = 10 ** (level + 2)
        a, b = rng.randrange(top), rng.randrange(top)
        return {"prompt": f"{a} + {b} = ?", "public": {"terms": 2}, "secret_sum": a + b}

    def ingest(self, task: Task) -> Task:
        answer = task.get("expected_answer")
        if not isinstance(answer, int):
            raise BadRow("`expected_answer` must be a whole number", field="expected_answer")
        return msgspec.structs.replace(task, hidden={"secret_sum": answer})

    def verify(self, task: Task, session: Session, reply: Reply) -> float:
        if reply.text == "raise":
            raise KeyError("boom")
        if reply.text == "outside":
            return 7.0
        if reply.text == "words":
            return "good"  # type: ignore[return-value]
        if reply.text == "details":
            return Verdict(reward=1.0, details={"set": object()})  # type: ignore[return-value]
        if reply.text == "judge":
            raise JudgeFault("the judge is away")
        return float(reply.text.strip() == str(task["secret_sum"]))

    def verify_published(self, task: Task, session: Session, reply: Reply) -> float:
        if reply.text == "published raises":
            raise ZeroDivisionError
        return float(str(task["secret_sum"]) in reply.raw_text)

    def oracle(self, task: Task) -> str:
        return str(task["secret_sum"])


class Counter(Environment):
    """Count to the hidden target with a tool; sessions, an async tool, a tool that breaks."""

    name = "counter"
    closed: ClassVar[list[str]] = []
    inside: ClassVar[int] = 0
    entered: ClassVar[asyncio.Event | None] = None
    leave: ClassVar[asyncio.Event | None] = None

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        target = rng.randrange(1, 10_000)
        return {"prompt": f"count to {target}", "target": target, "tools": ["add", "slow", "broken", "away", "read"]}

    def setup(self, task: Task) -> dict[str, int]:
        if task.get("fail_setup"):
            raise OSError("no room")
        return {"count": 0}

    def close(self, session: Session) -> None:
        self.closed.append(session.session_id)
        if session.task.get("fail_close"):
            raise OSError("stuck")

    @tool
    def add(self, session: Session, n: int) -> str:
        """Add to the counter.

        Args:
            n: how much
        """
        if n < 0:
            raise ToolFault("n must not be negative")
        session.state["count"] += n
        return str(session.state["count"])

    @tool
    async def slow(self, session: Session) -> str:
        """Wait inside until the test lets go."""
        assert self.entered is not None and self.leave is not None
        type(self).inside += 1
        assert type(self).inside == 1, "two calls of one session ran side by side"
        self.entered.set()
        await self.leave.wait()
        type(self).inside -= 1
        return "slow"

    @tool(read_only=True)
    def read(self, session: Session) -> dict[str, int]:
        """The counter, as JSON."""
        return {"count": session.state["count"], "draw": session.rng.randrange(10**9)}

    @tool
    def broken(self) -> str:
        """Always breaks."""
        raise RuntimeError("secret inner text")

    @tool
    def away(self) -> str:
        """A tool whose own service is away."""
        raise JudgeFault("the simulated user is away")

    @tool
    def unlisted(self) -> str:
        """A tool that generated tasks do not list."""
        return "never"

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        right = session.state["count"] == task["target"]
        return Verdict(reward=float(right), components={"calls": float(len(session.calls))})

    def oracle(self, task: Task) -> Script:
        return Script((Call("add", {"n": task["target"]}),), "done")


class Longest(Environment):
    """Judged in groups: the longest reply gets 1.0, the others 0.0."""

    name = "longest"
    group_deadline_s = 0.2

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return {"prompt": f"say much about {rng.randrange(10**6)}"}

    def verify_group(self, entries: list[GroupEntry]) -> list[float | Verdict]:
        if any(entry.reply.text == "raise" for entry in entries):
            raise KeyError("boom")
        top = max(len(entry.reply.text) for entry in entries)
        return [float(len(entry.reply.text) == top) for entry in entries]


class Heavy(Environment):
    """Graded in workers, in the way the reply asks for; its verdicts tell which worker it was, so they differ."""

    name = "heavy"
    worker = True
    pure = False
    verify_timeout_s = 0.5

    def warm(self) -> None:
        self.warmed = True

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return {"prompt": f"task {rng.randrange(10**9)}", "hidden_thing": {1, 2}}

    def ingest(self, task: Task) -> Task:
        if "gold" not in task.fields:
            raise BadRow("`gold` is missing", field="gold", hint="add it")
        return task

    def verify(self, task: Task, session: Session, reply: Reply) -> float | Verdict:
        match reply.text:
            case "hang":
                threading.Event().wait()
            case "die":
                os._exit(3)
            case "raise":
                raise KeyError("boom")
            case "fault":
                raise ToolFault("no")
            case "memory":
                return float(len(bytearray(8 << 30)))
            case "unpicklable":
                return Verdict(reward=1.0, details={"f": lambda: 1})
        return Verdict(reward=1.0, details={"pid": os.getpid(), "warmed": self.warmed, "print": print("noise")})


class Waiting(Environment):
    """Graded by a coroutine, as an environment with a judge is."""

    name = "waiting"
    verify_timeout_s = 0.2

    async def verify(self, task: Task, session: Session, reply: Reply) -> float:  # type: ignore[override]
        if reply.text == "hang":
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return 1.0


class Plain:
    """Not an environment: a pool serves any class."""

    def pid(self) -> int:
        return os.getpid()

    def parent(self) -> int:
        return os.getppid()

    def double(self, number: int) -> int:
        return 2 * number

    async def later(self, value: str) -> str:
        await asyncio.sleep(0)
        return value

    def hang(self) -> None:
        threading.Event().wait()

    def memory_limit(self) -> int:
        import resource

        return resource.getrlimit(resource.RLIMIT_AS)[0]


class Unstartable:
    """Its workers never come up."""

    def __init__(self) -> None:
        raise RuntimeError("no licence file")


class Other(Plain):
    """A second class beside `Plain`."""

    def double(self, number: int) -> int:
        return 3 * number


class Warmed(Plain):
    """Counts its warming."""

    count = 0

    def warm(self) -> None:
        self.count += 1

    def times_warmed(self) -> int:
        return self.count


class Slow:
    """Takes a while to warm."""

    def warm(self) -> None:
        threading.Event().wait(2.5)

    def ok(self) -> str:
        return "ok"


class Deadly:
    """Takes its process with it while it loads."""

    def __init__(self) -> None:
        os._exit(4)


class Pure(Environment):
    """Graded in workers by a rule alone, so that its verdicts may be kept. Says how often it was asked."""

    name = "pure"
    worker = True
    asked: ClassVar[int] = 0

    def ingest(self, task: Task) -> Task:
        return task

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        if reply.text == "raise":
            raise KeyError("boom")
        type(self).asked += 1
        return Verdict(reward=float(reply.text == task["gold"]), details={"asked": self.asked})


class Opinion(Environment):
    """An exact answer is right, an empty one wrong; about anything else a judge is asked, as the reply wants it."""

    name = "opinion"
    worker = True

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return {"prompt": f"name {rng.randrange(10**6)}", "gold": "one"}

    def ingest(self, task: Task) -> Task:
        return msgspec.structs.replace(task, hidden={"gold": task.fields["answer"]})

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        return Verdict(reward=float(reply.text == task["gold"]), details={"pid": os.getpid()})

    def verify_published(self, task: Task, session: Session, reply: Reply) -> float:
        return 0.5 if reply.text else 0.0

    async def judge(
        self, task: Task, session: Session, reply: Reply, verdict: Verdict, judge: Judge
    ) -> float | Verdict:
        if verdict.reward == 1.0:
            return verdict
        if reply.text == "raise":
            raise KeyError("boom")
        if reply.text == "outside":
            return 7.0
        if reply.text == "wait":
            await asyncio.Event().wait()
        ruling = await judge.ask(EQUIVALENCE, question="q", first=task["gold"], second=reply.text)
        return float(ruling.value)


class Needy(Opinion):
    """Gives no verdict without a judge."""

    name = "needy"
    needs_judge = True


class Divided(Opinion):
    """Exact for all tasks but those that are open, which a judge decides."""

    name = "divided"

    def judge_decides(self, task: Task) -> bool:
        return bool(task["gold"] == "open")

    async def judge(
        self, task: Task, session: Session, reply: Reply, verdict: Verdict, judge: Judge
    ) -> float | Verdict:
        return 1.0 if self.judge_decides(task) else verdict


class Contest(Environment):
    """A group in which the judge is asked about each member that is not empty."""

    name = "contest"
    group_deadline_s = 0.2

    def verify_group(self, entries: list[GroupEntry]) -> list[float | Verdict]:
        return [0.25 if entry.reply.text else 0.0 for entry in entries]

    async def judge_group(
        self, entries: list[GroupEntry], verdicts: list[Verdict], judge: Judge
    ) -> list[float | Verdict]:
        if any(entry.reply.text == "few" for entry in entries):
            return []
        ruled: list[float | Verdict] = []
        for entry, verdict in zip(entries, verdicts, strict=True):
            if verdict.reward == 0.0:
                ruled.append(verdict)
                continue
            ruling = await judge.ask(EQUIVALENCE, question="q", first="one", second=entry.reply.text)
            ruled.append(float(ruling.value))
        return ruled
