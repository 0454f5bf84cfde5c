"""Demonstrations for the warm start, played by the environments' own oracles and a stated share of mistakes.

A demonstrator errs in one of three ways, equally often, and the same in every environment:

    confuses      does what another task of the environment asks, in this task's session
    gives up      says that it does not know
    stops early   leaves the last tool call out, or the end of its answer

Tool results stay genuine and the mistakes look like mistakes. What is learnt from these is a policy that errs about as
often as its demonstrator; what reinforcement adds on top is the point of the demo.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gym_core.contracts import Task
from gym_core.environment import Environment, Script
from gym_core.generate import make_tasks
from gym_core.play import play_script
from gym_core.seeds import rng

if TYPE_CHECKING:
    from model.tokenizer import Tokenizer

Items = list[dict[str, Any]]


SLIPS = ("confuses", "gives_up", "stops_early")
GIVING_UP = "I do not know."


@dataclass(slots=True)
class Demonstration:
    """A played task: its items, what the demonstrator did, and how it slipped ("" where it did not)."""

    environment: str
    task: Task
    output: Items
    slip: str = ""


def demonstrate(
    environment: Environment, *, seed: int, level: int, tasks: int, error_rate: float
) -> Iterator[Demonstration]:
    """Play `tasks` training tasks of one level, each slipping with probability `error_rate`."""
    made = make_tasks(environment, seed=seed, level=level, count=tasks, split="train")
    draw = rng(seed, "demonstrator", environment.name)
    with asyncio.Runner() as runner:
        for task in made:
            slip = draw.choice(SLIPS) if draw.random() < error_rate else ""
            script = _slip(environment, task, made, slip, draw) if slip else _script(environment, task)
            output, _ = runner.run(play_script(environment, task, script, verify=False))
            yield Demonstration(environment.name, task, output, slip)


def _script(environment: Environment, task: Task) -> Script:
    said = environment.oracle(task)
    return said if isinstance(said, Script) else Script(reply=said)


def _slip(environment: Environment, task: Task, tasks: Sequence[Task], slip: str, draw: random.Random) -> Script:
    if slip == "gives_up":
        return Script(reply=GIVING_UP)
    if slip == "stops_early":
        return stop_early(_script(environment, task), draw)
    others = [other for other in draw.sample(tasks, min(2, len(tasks))) if other is not task]
    return _script(environment, others[0]) if others else Script(reply=GIVING_UP)


def stop_early(script: Script, draw: random.Random) -> Script:
    """The script without its last call; without calls, the beginning of its reply, cut between words or marks."""
    if script.calls:
        return Script(script.calls[:-1], script.reply)
    parts = re.findall(r"\w+|\W", script.reply)
    return Script(reply="".join(parts[: draw.randrange(1, len(parts))]).rstrip() if len(parts) > 1 else "")


def conversation(demonstration: Demonstration) -> list[dict[str, Any]]:
    """The demonstration as chat messages."""
    from model.responses import messages_from_responses

    return messages_from_responses([*demonstration.task.messages, *demonstration.output])


def tokenise(demonstration: Demonstration, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """(token ids, loss mask): exactly the tokens a rollout of the same words would have, the policy's own to learn.

    Each assistant turn is encoded as a generation is (its own text alone), and what stands between two turns as the
    policy server writes it.
    """
    from model import chat
    from model.responses import tools_from_responses

    messages = conversation(demonstration)
    tools = tools_from_responses(demonstration.task.tools)
    turns = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    ids: list[int] = []
    mask: list[int] = []
    done = 0
    for turn in turns:
        prompt, reply = chat.demonstration(messages[: turn + 1], tools, enable_thinking=False)
        if done:
            between = chat.continuation(messages[:done], messages[done:turn], tools, enable_thinking=False)
            if between is None:
                raise ValueError(f"the template rewrites the history of a demonstration of {demonstration.environment}")
            prompt = between
        for rendered, learn in ((prompt, 0), (reply, 1)):
            part = tokenizer.encode_pieces(rendered.pieces)
            ids += part
            mask += [learn] * len(part)
        done = turn + 1
    return ids, mask


def corpus(demonstrations: Sequence[Demonstration]) -> Iterator[str]:
    """Text the tokenizer of a tiny model learns from: whole rendered conversations."""
    from model import chat
    from model.responses import tools_from_responses

    for demonstration in demonstrations:
        tools = tools_from_responses(demonstration.task.tools)
        yield chat.render(conversation(demonstration), tools, enable_thinking=False, add_generation_prompt=False).text


def write(path: Path, demonstrations: Sequence[Demonstration], tokenizer: Tokenizer) -> dict[str, Any]:
    """One JSON line each, as `trainer.sft` reads them. Returns what the file holds, counted."""
    counts: dict[str, dict[str, int]] = {}
    with path.open("wb") as file:
        for demonstration in demonstrations:
            ids, mask = tokenise(demonstration, tokenizer)
            line = {"environment": demonstration.environment, "token_ids": ids, "loss_mask": mask}
            file.write(msgspec.json.encode(line) + b"\n")
            count = counts.setdefault(demonstration.environment, {"demonstrations": 0, "tokens": 0})
            count["demonstrations"] += 1
            if demonstration.slip:
                count[demonstration.slip] = count.get(demonstration.slip, 0) + 1
            count["tokens"] += len(ids)
    return counts
