"""Published rows (`genrm_compare`): a conversation that ends with the user, and perhaps a principle and a prompt id."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from environments.genrm_compare.circle import STRATEGIES
from gym_core.contracts import Task
from gym_core.errors import BadRow
from gym_core.judge.genrm import HELPFUL

ROLES = ("system", "developer", "user", "assistant")
INPUT = "responses_create_params.input"


def ingest(task: Task) -> Task:
    """Check the row; it stays as it came. Raises `BadRow` naming the field."""
    for number, item in enumerate(task.messages):
        if item.get("role") not in ROLES:
            raise BadRow(f"a role is one of {', '.join(ROLES)}", field=f"{INPUT}[{number}].role")
        if not content_text(item).strip():
            raise BadRow("a message without text cannot be answered", field=f"{INPUT}[{number}].content")
    if task.messages[-1]["role"] != "user":
        raise BadRow("the conversation must end with the user: that is what is answered", field=INPUT)
    for name in ("principle", "prompt_id"):
        if not isinstance(task.get(name), str | None):
            raise BadRow(f"`{name}` must be text", field=name)
    if task.get("comparison_strategy", "circular") not in STRATEGIES:
        raise BadRow(f"`comparison_strategy` is one of {', '.join(STRATEGIES)}", field="comparison_strategy")
    return task


def content_text(item: dict[str, Any]) -> str:
    """All text of a message of the conversation, whoever wrote it."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def conversation(task: Task) -> str:
    """The conversation as a judge reads it."""
    return "\n\n".join(f"[{item['role'].upper()}]: {content_text(item)}" for item in task.messages)


def published_history(task: Task) -> str:
    """The messages as the public server sends them, as JSON: of parts only those of the kind `output_text`."""
    history = []
    for item in task.messages:
        content = item.get("content", "")
        if isinstance(content, list):
            content = "".join(
                part.get("text", "") for part in content if isinstance(part, dict) and part.get("type") == "output_text"
            )
        history.append({"role": str(item.get("role", "user")), "content": str(content)})
    return json.dumps(history)


def principle(task: Task) -> str:
    """What counts; a general wording where the row names nothing."""
    return str(task.get("principle") or HELPFUL)


def cohort_key(row: dict[str, Any]) -> str:
    """The key under which the public server gathers rollouts: prompt id and principle, else a hash of what was asked.

    Here a group has an explicit id; members whose keys differ are not judged together.
    """
    stated, given = row.get("prompt_id"), row.get("principle")
    if stated is not None:
        return f"{stated}::{given}" if given is not None else str(stated)
    keyed = {"input": row["responses_create_params"]["input"], "principle": given}
    return hashlib.sha256(json.dumps(keyed, sort_keys=True).encode()).hexdigest()
