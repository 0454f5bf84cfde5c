"""The verdict on a reply before any judge, strict and published, of generated tasks and of rows of each protocol."""

from __future__ import annotations

import re
from typing import Any

from environments.long_context_qa import graphwalks, ruler
from environments.long_context_qa.answers import folded, written
from environments.long_context_qa.candidates import (
    Unclear,
    published_candidate,
    published_question,
    strict_candidate,
)
from environments.long_context_qa.expressions import Slow
from environments.long_context_qa.grading import Graded, grade
from environments.long_context_qa.rows import AALCR, EQUIVALENCE, GRAPHWALKS, LC_JUDGE, RULER, JudgeOptions
from gym_core.contracts import Task, Verdict
from gym_core.environment import Reply

OPEN = "open_answer"
"""Detail of a verdict that a judge may still turn: what it is to be shown."""

ASKED = "asked"
"""Detail of a published verdict that a judge may still turn: the question that it is to be shown."""

NEEDS_JUDGE = "a judge decides"


def strict(task: Task, reply: Reply) -> Verdict:
    """1.0 for exactly the answer, 0.0 otherwise; open where a judge may see that only the form differs."""
    graded = grade(task["answer"], reply.text) if task.ref is not None else _strict_row(task, reply)
    details: dict[str, Any] = {"reason": graded.reason}
    if task.ref is not None:
        details["family"] = task["family"]
    if graded.open:
        details[OPEN] = graded.open
    return Verdict(reward=graded.reward, details=details)


def _strict_row(task: Task, reply: Reply) -> Graded:
    text, protocol = reply.text, task["protocol"]
    if protocol == GRAPHWALKS:
        return Graded(*graphwalks.strict(task["nodes"], text))
    if protocol == RULER:
        prompt = graphwalks.prompt_of(task.responses_create_params["input"])
        return ruler.strict(task["outputs"], task["subset"], text, prompt)
    if not text.strip():
        return Graded(0.0, "empty")
    expected = task["expected"]
    try:
        candidate = strict_candidate(text, expected, task.get("expression", ""), task.get("options", JudgeOptions()))
    except (Unclear, Slow) as error:
        return Graded(0.0, str(error))
    if _same(candidate, expected):
        return Graded(1.0, "the official answer")
    return Graded(0.0, NEEDS_JUDGE, open=candidate)


def published(task: Task, reply: Reply) -> Verdict:
    """The public verifier's reward where no judge is asked; where one is, 0.0 and what it is to be shown."""
    if task.ref is not None:
        return _published_generated(task, reply)
    protocol = task["protocol"]
    if protocol == GRAPHWALKS:
        prompt = graphwalks.prompt_of(task.responses_create_params["input"])
        reasoning = graphwalks.reasoning_of(reply.items)
        reward, reason, parts = graphwalks.published(task["nodes"], task["overlap"], reply.raw_text, reasoning, prompt)
        return Verdict(reward=reward, components=parts, details={"reason": reason})
    if protocol == RULER:
        reward = ruler.published(task["outputs"], task["subset"], reply.raw_text)
        return Verdict(reward=reward, details={"reason": "references in the reply"})
    if protocol == AALCR:
        candidate = reply.raw_text.strip()
        if not candidate:
            return Verdict(reward=0.0, details={"reason": "empty"})
        return Verdict(reward=0.0, details={"reason": NEEDS_JUDGE, OPEN: candidate, ASKED: task["question"]})
    return _published_equivalence(task, reply, task["expected"], task["expression"], task["options"])


def _published_generated(task: Task, reply: Reply) -> Verdict:
    """Needles by their references, as RULER; questions over documents by the judge, as `lc_judge`."""
    answer = task["answer"]
    if not task["needed"]:
        outputs = answer["items"] if "items" in answer else [str(answer["value"])]
        return Verdict(
            reward=ruler.published(outputs, "", reply.raw_text), details={"reason": "references in the reply"}
        )
    return _published_equivalence(task, reply, written(answer), "", LC_JUDGE, task["question"])


def _published_equivalence(
    task: Task, reply: Reply, expected: str, expression: str, options: JudgeOptions, question: str = ""
) -> Verdict:
    try:
        candidate = published_candidate(reply.items, expected, expression, options)
        question = question or published_question(task.responses_create_params["input"], options.question_extract_regex)
    except Slow as error:
        return Verdict(reward=0.0, details={"reason": str(error)})
    limit = options.max_answer_chars
    if limit is not None and len(published_candidate(reply.items, expected, "", JudgeOptions())) > limit:
        return Verdict(reward=0.0, details={"reason": "final_answer_too_long"})
    return Verdict(reward=0.0, details={"reason": NEEDS_JUDGE, OPEN: candidate, ASKED: question})


def oracle(task: Task) -> str:
    """What earns the maximum without a judge."""
    if task.ref is not None:
        said = written(task["answer"])
        return said if task["family"].startswith("line_") else f"Answer: {said}"
    protocol = task["protocol"]
    if protocol == GRAPHWALKS:
        return f"Final Answer: [{', '.join(task['nodes'])}]"
    if protocol == RULER:
        outputs = task["outputs"]
        return str(outputs[0] if task["subset"].startswith("qa") else "; ".join(outputs))
    prompt = graphwalks.prompt_of(task.responses_create_params["input"])
    boxed = protocol == EQUIVALENCE and "\\boxed" in prompt
    return f"\\boxed{{{task['expected']}}}" if boxed else str(task["expected"])


def _same(candidate: str, expected: str) -> bool:
    """The same words, case, space, markup and a final full stop aside."""
    return bool(folded(candidate)) and folded(_unescaped(candidate)) == folded(_unescaped(expected))


def _unescaped(text: str) -> str:
    r"""Line breaks that some rows spell as two characters, and LaTeX text, as what they mean."""
    return re.sub(r"\\text\{([^{}]*)\}", r"\1", text.replace("\\n", "\n"))
