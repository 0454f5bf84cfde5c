"""What is paid for: the maximum to the oracle, the floor to everybody who knows nothing. All of it over HTTP."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

from gym_core.check.answers import CONSTANTS, JUNK, cut, exact, guess, hedged, nudged
from gym_core.check.rule import Failed, Skipped, rule
from gym_core.check.seen import SeenTask
from gym_core.check.subject import Subject
from gym_core.environment import Script
from gym_core.errors import PalaestraError
from gym_core.seeds import rng

CHANCE = 0.1
"""Share of the reward range that luck may earn above the floor: guesses are right now and then."""

VARIANTS = 0.9
"""Share that near misses may earn where answers are sentences or documents, of which many variants are right."""

COMPARED = ("shuffled", "near_miss")
"""Panels made from the oracle's answers."""

STRICTER = "compare the whole answer; declare `floor` in the manifest only where guessing is really worth that much"


@rule(
    "oracle",
    "the oracle earns the maximum over HTTP",
    fix="`verify` must accept what `oracle` says after a trip through JSON (tuples become lists, keys text)",
)
async def oracle(subject: Subject) -> str:
    tasks = subject.tasks(per_level=max(subject.options.per_level, subject.options.train // 2))
    broken = [task.oracle_error for task in tasks if task.oracle_error]
    if broken:
        raise Failed(f"`oracle` raised on {len(broken)} of {len(tasks)} tasks: {broken[0]}", "mend `oracle`")
    rewards: list[float] = []
    seconds: list[float] = []
    wrong: list[str] = []
    for task in subject.solved(per_level=len(tasks)):
        if len(rewards) == len(tasks):
            break
        try:
            played = await subject.play(task, task.script)
        except PalaestraError as error:
            raise Failed(f"no verdict on {_name(task)}: {error}") from None
        rewards.append(played.reward)
        seconds.append(played.verify_s)
        if played.reward != subject.high:
            wrong.append(f"{_name(task)} paid {played.reward:g}")
        wrong += [
            f"{_name(task)}: its call {tool.name} broke: {tool.text}"
            for tool in played.tools
            if tool.kind == "exception"
        ]
    subject.figures.oracle = statistics.fmean(rewards)
    if not subject.wire.judges_groups:
        subject.figures.ms_per_verify = statistics.median(seconds) * 1000
    if wrong:
        raise Failed(f"mean {subject.figures.oracle:.3f} of {subject.high:g}: {'; '.join(wrong[:3])}")
    return f"{subject.high:g} on {len(rewards)} tasks"


@rule(
    "idle",
    "silence earns no more than the floor",
    fix="test `reply.empty` first; judge what was done, not the absence of mistakes",
)
async def idle(subject: Subject) -> str:
    tasks = subject.affordable(subject.tasks(), 2)
    rewards = [(await subject.play(task, text)).reward for task in tasks for text in ("", " \n")]
    subject.figures.idle = statistics.fmean(rewards)
    return _bounded(subject, "idle", subject.figures.idle, f"silence on {len(tasks)} tasks")


@rule(
    "thinking",
    "an answer that stands only in the thinking earns no more than the floor",
    fix="grade `reply.text`, which has no thinking, not `raw_text` or `items`",
)
async def thinking(subject: Subject) -> str:
    tasks = subject.affordable([task for task in subject.solved() if task.reply.strip()], 1)
    if not tasks:
        raise Skipped("the oracle says nothing")
    mean = await subject.mean(tasks, (f"<think>{task.reply}</think>" for task in tasks))
    return _bounded(subject, "thinking", mean, f"thinking on {len(tasks)} tasks")


@rule("junk", "words that answer nothing earn no more than the floor", fix=STRICTER)
async def junk(subject: Subject) -> str:
    return await _best(subject, "junk", JUNK)


@rule("constant", "no reply that ignores the task earns more than the floor and luck", fix=STRICTER)
async def constant(subject: Subject) -> str:
    said = Counter(task.reply for task in subject.tasks() if task.reply and len(task.reply) < 200)
    favourite = [reply for reply, count in said.most_common(1) if count > 1]
    return await _best(subject, "constant", [*CONSTANTS, *favourite])


@rule("echo", "the prompt said back earns no more than the floor and luck", fix=STRICTER)
async def echo(subject: Subject) -> str:
    forms: dict[str, list[Form]] = {
        "the prompt": [lambda task: task.prompt],
        "its last line": [lambda task: task.prompt.strip().splitlines()[-1]],
        "its words, sorted": [lambda task: " ".join(sorted(set(task.prompt.split())))],
    }
    return await _panel(subject, "echo", forms)


@rule("random", "random words and random calls earn no more than the floor and luck", fix=STRICTER)
async def random(subject: Subject) -> str:
    def form(number: int) -> Callable[[SeenTask], Script]:
        def script(task: SeenTask) -> Script:
            draw = rng("check", task.row["task_id"], number)
            return guess(draw, task.prompt, task.row["responses_create_params"].get("tools") or [])

        return script

    return await _panel(subject, "random", {"guesses": [form(number) for number in range(3)]})


@rule(
    "shuffled",
    "another task's right answer earns no more than the floor and luck",
    fix="`verify` must compare with this task's own hidden fields; draw answers evenly",
)
async def shuffled(subject: Subject) -> str:
    others = _others(subject)
    return await _panel(subject, "shuffled", {"another's answer": [lambda task: others[task.digest]]})


@rule(
    "near_miss",
    "an answer that is nearly right is not paid like the right one",
    fix="compare exactly, and want exactly one answer; where nearly all of them are right, declare `floors.near_miss`",
)
async def near_miss(subject: Subject) -> str:
    others = _others(subject)
    forms: dict[str, list[Form]] = {
        "one off": [lambda task: nudged(task.script)],
        "the first half": [lambda task: cut(task.script)],
        "hedged with another": [lambda task: hedged(task.script, others[task.digest])],
    }
    return await _panel(subject, "near_miss", forms)


# The panels ------------------------------------------------------------------------------------------------------

Form = Callable[[SeenTask], str | Script]


async def _best(subject: Subject, panel: str, replies: Sequence[str]) -> str:
    """A panel of fixed replies."""
    return await _panel(subject, panel, {reply[:60]: [_says(reply)] for reply in replies})


def _says(reply: str) -> Form:
    return lambda task: reply


async def _panel(subject: Subject, panel: str, forms: dict[str, list[Form]]) -> str:
    """The form that earns most, by name, must stay within the floor and luck; what does not is measured once more on
    held-out tasks, so that it is not merely the luckiest of many. Sets the panel's figure."""
    asked = subject.solved if panel in COMPARED else subject.tasks
    plays = sum(map(len, forms.values()))
    tasks = subject.affordable(asked(), plays)
    means = {name: await _mean(subject, tasks, form) for name, form in forms.items()}
    name = max(means, key=lambda name: means[name])
    mean = means[name]
    if mean > _allowed(subject, panel, tasks):
        fresh = subject.affordable(asked("heldout", per_level=subject.options.heldout), 1)
        mean = min(mean, await _mean(subject, fresh, forms[name]))
    if hasattr(subject.figures, panel):
        setattr(subject.figures, panel, mean)
    if panel == "constant":
        subject.figures.best_constant = name
    return _bounded(subject, panel, mean, repr(name), tasks)


async def _mean(subject: Subject, tasks: Sequence[SeenTask], forms: Sequence[Form]) -> float:
    return statistics.fmean([await subject.mean(tasks, (form(task) for task in tasks)) for form in forms])


def _allowed(subject: Subject, panel: str, tasks: Sequence[SeenTask]) -> float:
    """The floor of the panel and what luck may add."""
    luck = 0.0 if panel in ("idle", "thinking") else CHANCE
    if panel == "near_miss" and panel not in subject.manifest.floors:
        free = statistics.fmean(not exact(task.script) for task in tasks)
        luck = CHANCE + (VARIANTS - CHANCE) * free
    return subject.floor(panel) + luck * (subject.high - subject.low) + 1e-9


def _bounded(subject: Subject, panel: str, mean: float, of: str, tasks: Sequence[SeenTask] = ()) -> str:
    allowed = _allowed(subject, panel, tasks)
    if mean > allowed:
        raise Failed(f"{of} earns {mean:.3f} on average, allowed is {allowed:.3f} (floor {subject.floor(panel):g})")
    return f"{mean:.3f} ({of})"


def _others(subject: Subject) -> dict[str, Script]:
    """For each solved task the script of another one of its level whose script differs. Raises `Skipped`."""
    found = {}
    for split in ("train", "heldout"):
        solved = [task for task in subject.seen.tasks if task.split in (split, "") and not task.oracle_error]
        for number, task in enumerate(solved):
            rest = solved[number + 1 :] + solved[:number]
            near = [other for other in rest if other.script != task.script]
            same = [other for other in near if other.level == task.level]
            if not near:
                raise Skipped("all tasks have the same answer, or there is only one")
            found[task.digest] = (same or near)[0].script
    return found


def _name(task: SeenTask) -> str:
    ref = task.row.get("task_ref")
    return f"level {ref['level']} index {ref['index']}" if ref else str(task.row.get("task_id"))
