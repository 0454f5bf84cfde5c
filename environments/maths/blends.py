r"""Rows that other data sets hold: DAPO-Math-17k and Skywork-OR1 as they are, and the placeholders of blends for them.

    placeholder {"dataset", "_hf_placeholder": {"row", "question_template"}} + raw row ─▶ `resolve` ─▶ task row
    raw row     {"prompt": [{"content"}], "reward_model": {"ground_truth"}}            ─▶ `reshape` ─▶ task row

Where a blend's questions and answers lie, and how its templates go around them: NVIDIA-NeMo/Nemotron,
`data_prep/utils/hf_placeholder.py`.
"""

from __future__ import annotations

import json
from typing import Any

from gym_core.errors import BadRow

PLACEHOLDER = "_hf_placeholder"
SOURCES = {
    "nano_v3_sft_profiled_dapo17k": "BytedTsinghua-SIA/DAPO-Math-17k, split train",
    "nano_v3_sft_profiled_skywork_no_omni": "Skywork/Skywork-OR1-RL-Data, split math",
}
"""Data sets by the name that blends give them."""

HINT = "Put only the final answer in \\boxed{}."
_ANSWER_LINE = "should be of the form Answer:"


def resolve(placeholder: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    """The task row that a placeholder stands for; `raw` is the row that it points to. Its other fields are kept.

    Raises `BadRow` where one of the two is not what it should be.
    """
    pointer = placeholder.get(PLACEHOLDER)
    if not isinstance(pointer, dict):
        raise BadRow(
            f"a placeholder has `{PLACEHOLDER}`, an object with `row` and `question_template`", field=PLACEHOLDER
        )
    question, answer = _question(raw), first_of(_answer(raw))
    asked = _templated(question, pointer.get("question_template"))
    kept = {name: value for name, value in placeholder.items() if name != PLACEHOLDER and value is not None}
    return {
        **kept,
        "question": question,
        "expected_answer": answer,
        "responses_create_params": {"input": [{"role": "user", "content": asked}]},
    }


def refuse(row: dict[str, Any]) -> BadRow:
    """Why a placeholder cannot be used, and where its question lies."""
    pointer = row.get(PLACEHOLDER)
    number = pointer.get("row") if isinstance(pointer, dict) else None
    name = str(row.get("dataset"))
    return BadRow(
        f"this row is a placeholder: its question and answer are row {number} of {SOURCES.get(name, name)}",
        field=PLACEHOLDER,
        hint="fetch that row and send what `environments.maths.blends.resolve(placeholder, row)` makes of the two",
    )


def reshape(row: dict[str, Any]) -> dict[str, Any]:
    """A raw DAPO or Skywork row as a task row, all its fields but `prompt` kept. Others come back as they are.

    Raises `BadRow` for a placeholder. Prompts that want the answer on a line of its own, as DAPO's do, are asked anew
    for a box: the last box is where answers are read here.
    """
    if row.get(PLACEHOLDER) is not None:
        raise refuse(row)
    if "prompt" not in row:
        return row
    content = _content(row)
    rest = {name: value for name, value in row.items() if name != "prompt" and value is not None}
    rest.setdefault("question", _question(row))
    if "\\boxed" not in content:
        content = f"{_question(row)}\n\n{HINT}"
    return {**rest, "responses_create_params": {"input": [{**row["prompt"][0], "content": content}]}}


def first_of(answer: Any) -> Any:
    """Skywork writes some answers as a JSON list or object in text: its first element is meant."""
    if not isinstance(answer, str) or answer.strip()[:1] not in ("[", "{"):
        return answer
    try:
        parsed = json.loads(answer)
    except (ValueError, RecursionError):
        return answer
    values = list(parsed.values()) if isinstance(parsed, dict) else parsed
    return values[0] if values else answer


def _content(raw: dict[str, Any]) -> str:
    prompt = raw.get("prompt")
    if not isinstance(prompt, list) or not prompt:
        raise BadRow("a raw row needs `prompt`, a list of messages", field="prompt")
    content = prompt[0].get("content") if isinstance(prompt[0], dict) else None
    if not isinstance(content, str) or not content.strip():
        raise BadRow("the first message of `prompt` must have `content`, a text", field="prompt[0].content")
    return content


def _question(raw: dict[str, Any]) -> str:
    """The problem alone: DAPO's prompts have a paragraph of instructions before and one after it."""
    content = _content(raw)
    blocks = content.split("\n\n")
    if len(blocks) > 2 and _ANSWER_LINE in blocks[0]:
        content = "\n\n".join(blocks[1:-1])
    return content.rstrip("\n")


def _answer(raw: dict[str, Any]) -> Any:
    model = raw.get("reward_model")
    if not isinstance(model, dict) or model.get("ground_truth") is None:
        raise BadRow("a raw row needs `reward_model.ground_truth`", field="reward_model.ground_truth")
    return model["ground_truth"]


def _templated(question: str, template: Any) -> str:
    """The question with its template around it: `prefix` and `suffix`, or a text with `{question}`."""
    if isinstance(template, dict):
        return f"{template.get('prefix') or ''}{question}{template.get('suffix') or ''}"
    if isinstance(template, str) and "{question}" in template:
        return template.replace("{question}", question)
    if template in (None, ""):
        return question
    raise BadRow(
        "`question_template` is an object with `prefix` and `suffix`, or a text with {question}",
        field=f"{PLACEHOLDER}.question_template",
    )
