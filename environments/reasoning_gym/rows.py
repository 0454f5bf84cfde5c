"""Rows from outside: items of the public server, and items named by generator, configuration, seed and index.

{question, answer, metadata: {source_dataset, …}}      NeMo Gym's rows, which bring their item
{name, config, seed, index}                             an item that is made again here; nothing of it travels
"""

from __future__ import annotations

from typing import Any

from environments.reasoning_gym.catalogue import Generator, generators
from environments.reasoning_gym.pinned import MAKE_S, Overran, Raised, pinned
from gym_core.contracts import Task
from gym_core.errors import BadRow

NAMED = ("name", "config", "seed", "index")


def ingest(task: Task) -> Task:
    """The task with its source. Raises `BadRow` for what can never be graded."""
    source = _named(task) if task.get("metadata") is None else _brought(task)
    task.hidden["source"] = source
    if "question" in source:
        task.hidden["gold"] = source["answer"]
        return task
    try:
        item = pinned().ask("item", source, limit_s=MAKE_S)
    except (Raised, Overran) as error:
        raise BadRow(f"{source['name']} makes no item of this: {error}", field="config") from None
    if " ".join(item["question"].split()) not in " ".join(_texts(task).split()):
        raise BadRow(
            f"the input does not ask the question of {source['name']}, seed {source['seed']}, index {source['index']}",
            field="responses_create_params.input",
            hint="copy the item's question into the prompt",
        )
    task.hidden["gold"] = item["answer"]
    return task


def _brought(task: Task) -> dict[str, Any]:
    metadata = task.get("metadata")
    if not isinstance(metadata, dict):
        raise BadRow("`metadata` must be an object", field="metadata")
    name = metadata.get("source_dataset")
    entry = _known(name, "metadata.source_dataset")
    question, answer = task.get("question"), task.get("answer")
    if not isinstance(question, str) or not question:
        raise BadRow("`question` must be the item's question", field="question")
    if not isinstance(answer, str) and not (answer is None and entry.rule in ("package", "some_json")):
        raise BadRow(f"an item of {name} needs its `answer` as text", field="answer")
    if not answer and entry.rule not in ("package", "some_json", "numbers"):
        raise BadRow(f"an empty `answer` can never be given to {name}", field="answer")
    return {"name": name, "question": question, "answer": answer, "metadata": metadata}


def _named(task: Task) -> dict[str, Any]:
    entry = _known(task.get("name"), "name")
    if entry.unsafe:
        raise BadRow(f"items of {task['name']} are not made here: {entry.unsafe}", field="name")
    config = task.get("config", {})
    if not isinstance(config, dict):
        raise BadRow("`config` must be an object", field="config")
    numbers = {field: task.get(field, 0) for field in ("seed", "index")}
    for field, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32:
            raise BadRow(f"`{field}` must be a whole number from 0, not {value!r}", field=field)
    config = {key: value for key, value in config.items() if key != "seed"}
    return {"name": task["name"], "config": config, **numbers}


def _known(name: Any, field: str) -> Generator:
    entry = generators().get(name) if isinstance(name, str) else None
    if entry is None:
        raise BadRow(
            f"there is no generator called {name!r}", field=field, hint="see environments/reasoning_gym/README.md"
        )
    if entry.denied:
        raise BadRow(f"{name} is shut out: {entry.denied}", field=field)
    return entry


def _texts(task: Task) -> str:
    parts: list[str] = []
    for item in task.messages:
        content = item.get("content")
        if isinstance(content, str):
            parts.append(content)
        elif isinstance(content, list):
            parts += [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "\n".join(parts)
