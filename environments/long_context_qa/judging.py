"""What a judge decides: strictly with the guarded protocol in both orders, or as a public server would have.

    strict       CORRECTNESS of `gym_core.judge`: gated, escaped, one word, both orders must say CORRECT
    aalcr        one request; only the word CORRECT alone is a yes, silence is a failure of the judge (legacy); only
                 {"verdict": …} is a ruling (v1.1)
    equivalence  first request; CORRECT ─▶ perhaps swapped; INCORRECT ─▶ perhaps the whole message, for half the reward

Sources: NVIDIA-NeMo/Gym `resources_servers/aalcr`, `resources_servers/equivalence_llm_judge` (`configs/lc_judge.yaml`).
The wording of the requests is ours; what is shown, in which order, and how a reply is read, is theirs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from environments.long_context_qa.answers import written
from environments.long_context_qa.candidates import last_message, skipped
from environments.long_context_qa.rows import AALCR, LC_JUDGE, LEGACY, RULER, JudgeOptions
from environments.long_context_qa.verdicts import ASKED, OPEN
from gym_core.contracts import Grading, Task, Verdict
from gym_core.environment import Reply
from gym_core.judge.judge import Judge
from gym_core.judge.protocol import Protocol
from gym_core.judge.protocols import CORRECTNESS, CORRECTNESS_PUBLISHED

_WORDS = {"CORRECT": True, "INCORRECT": False}
_INSTRUCTION = CORRECTNESS.system.rpartition("\n")[0]


def _word_alone(text: str) -> bool | None:
    """Any other words are a no; silence is no ruling at all."""
    return _WORDS.get(text.strip(), False) if text.strip() else None


def first_of(equal: str, unequal: str) -> Callable[[str], bool | None]:
    """Whichever is found first, also inside other words; INCORRECT begins before the CORRECT that it holds."""

    def parse(text: str) -> bool | None:
        right, wrong = text.find(equal), text.find(unequal)
        if right < 0:
            return None if wrong < 0 else False
        return wrong < 0 or right < wrong

    return parse


@lru_cache(maxsize=64)
def equivalence(equal: str, unequal: str) -> Protocol[bool]:
    """The protocol of `equivalence_llm_judge` with these labels."""
    return replace(
        CORRECTNESS_PUBLISHED,
        name="lc_equivalence",
        system=f"{_INSTRUCTION}\nReply with one label only: {equal} if the answer is correct, {unequal} if it is not.",
        parse=first_of(equal, unequal),
        labels=(equal, unequal),
    )


def _verdict_object(text: str) -> bool | None:
    try:
        value = json.loads(text.strip())
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or set(value) != {"verdict"} or not isinstance(value["verdict"], str):
        return None
    return _WORDS.get(value["verdict"])


AALCR_LEGACY = replace(CORRECTNESS_PUBLISHED, name="aalcr_legacy", parse=_word_alone, unparsed=None)
AALCR_V1_1 = replace(
    CORRECTNESS_PUBLISHED,
    name="aalcr_v1_1",
    system=_INSTRUCTION + '\nReply with JSON only: {"verdict": "CORRECT"} or {"verdict": "INCORRECT"}.',
    parse=_verdict_object,
    unparsed=None,
    labels=('{"verdict": "CORRECT"}', '{"verdict": "INCORRECT"}'),
)


async def ruled(task: Task, reply: Reply, verdict: Verdict, judge: Judge) -> float | Verdict:
    """The verdict after the judge, where the exact checks left something open."""
    shown = verdict.details.pop(OPEN, None)
    asked = verdict.details.pop(ASKED, "")
    if shown is None:
        return verdict
    if verdict.grading is Grading.STRICT:
        ruling = await judge.ask(CORRECTNESS, question=_question(task), expected=_expected(task), candidate=shown)
        return float(ruling.value)
    if task.ref is None and task["protocol"] == AALCR:
        protocol = AALCR_LEGACY if task["judge_protocol"] == LEGACY else AALCR_V1_1
        ruling = await judge.ask(protocol, question=asked, expected=task["expected"], candidate=shown)
        return float(ruling.value)
    return await _equivalence(task, reply, shown, asked, judge)


async def _equivalence(task: Task, reply: Reply, shown: str, asked: str, judge: Judge) -> float:
    options: JudgeOptions = task.get("options", LC_JUDGE)
    expression, expected = task.get("expression", ""), _expected(task)

    protocol = equivalence(options.judge_equal_label, options.judge_not_equal_label)

    async def says(expected: str, candidate: str) -> bool:
        ruling = await judge.ask(protocol, question=asked, expected=expected, candidate=candidate)
        return ruling.value

    whole = skipped(expected, expression, options)
    if await says(expected, shown):
        if not options.check_twice_swap or whole:
            return 1.0
        return 1.0 if await says(shown, expected) else options.reward_if_swap_fails
    if whole or not expression or not options.check_full_generation_on_fail:
        return 0.0
    rescued = await says(expected, last_message(reply.items))
    return options.reward_if_full_generation_succeeds if rescued else 0.0


def _expected(task: Task) -> str:
    if task.ref is not None:
        return written(task["answer"])
    return " or ".join(task["outputs"]) if task["protocol"] == RULER else str(task["expected"])


def _question(task: Task) -> str:
    """The question alone where it is known, else the end of what the policy was asked."""
    question = task.get("question")
    if isinstance(question, str) and question:
        return question
    return "\n\n".join(_texts(task))[-QUESTION_CHARS:]


QUESTION_CHARS = 4_000


def _texts(task: Task) -> list[str]:
    contents = (item.get("content") for item in task.messages if item.get("role") == "user")
    return [content for content in contents if isinstance(content, str)]
