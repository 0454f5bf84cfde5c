"""Instruction following, single turn: a reply earns what share of its constraints it keeps, or all or nothing."""

from __future__ import annotations

import dataclasses
import random
from typing import Any, ClassVar

import msgspec

from environments.instruction_following.generator import LEVELS, make
from environments.instruction_following.instructions import Instruction, follow, follow_published, witness
from environments.instruction_following.rows import Row, read_row
from environments.instruction_following.verifiers import REGISTRY
from gym_core.environment import Environment, Reply, Session, Task, Verdict
from gym_core.reply import message_text
from gym_core.seeds import rng as rng_at

COPIES = frozenset(name for name, kind in REGISTRY.items() if kind.copies or "prompt_to_repeat" in kind.arguments)
MIN_ECHO_WORDS = 5
"""A prompt shorter than this may stand in an honest reply."""


class InstructionFollowing(Environment):
    """Keep every constraint of the prompt: 1.0 for all of them, 0.0 else; `grading_mode: fraction` pays the share."""

    name = "instruction_following"
    version = "1.0.0"
    worker = True
    levels: ClassVar[range] = LEVELS
    max_steps = 1

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return make(rng, level)

    def ingest(self, task: Task) -> Task:
        """Takes both published row shapes. Raises `BadRow` for unknown ids, bad or missing kwargs, an empty list."""
        row = read_row(task)
        return msgspec.structs.replace(task, hidden={**task.hidden, **dataclasses.asdict(row)})

    def warm(self) -> None:
        """What published verdicts ask: language profiles, syllables, emoji; a call each, so that none waits later."""
        for name in ("language:response_language", "words:odd_even_syllables", "format:emoji"):
            REGISTRY[name].published("Warm up the tables.", {"language": "en"})

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        row = _row(task)
        if _echoes(task, row.instructions, reply.text):
            return _verdict(row, [False] * len(row.instructions), echo=True)
        return _verdict(row, follow(row.instructions, reply.text, loose=row.loose))

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        """The public server's rules and its choice of text; ids listed as `approximate` use our own word splitter.

        Both lists of the public benchmark are told, `followed` and `followed_loose`; the row's `loose` says which pays.
        """
        row, text = _row(task), _published_text(reply)
        strict = follow_published(row.instructions, text, blank_fails=row.benchmark)
        loosely = follow_published(row.instructions, text, blank_fails=row.benchmark, loose=True)
        verdict = _verdict(row, loosely if row.loose else strict)
        verdict.details["followed"], verdict.details["followed_loose"] = strict, loosely
        verdict.details["reward_loose"] = _reward(row, loosely)
        verdict.details["approximate"] = [name for name, _ in row.instructions if REGISTRY[name].approximate]
        return verdict

    def oracle(self, task: Task) -> str:
        """The hidden witness; for rows from outside one is built. Raises `Impossible` where none was found."""
        known = task.get("witness")
        if isinstance(known, str):
            return known
        return witness(_row(task).instructions, rng_at("oracle", task.task_id))


def _row(task: Task) -> Row:
    if "instructions" not in task.hidden:
        return read_row(task)
    hidden = task.hidden
    return Row(hidden["instructions"], hidden["mode"], hidden.get("benchmark", False), hidden.get("loose", False))


def _echoes(task: Task, instructions: list[Instruction], text: str) -> bool:
    """True for a reply that holds the whole prompt, which names every keyword, where nobody asked for a copy."""
    if any(name in COPIES for name, _ in instructions):
        return False
    prompt = " ".join(message_text(task.messages[-1]).split()).casefold()
    return len(prompt.split()) >= MIN_ECHO_WORDS and prompt in " ".join(text.split()).casefold()


def _reward(row: Row, followed: list[bool]) -> float:
    return sum(followed) / len(followed) if row.mode == "fraction" else float(all(followed))


def _verdict(row: Row, followed: list[bool], echo: bool = False) -> Verdict:
    components: dict[str, float] = {}
    for (name, _), kept in zip(row.instructions, followed, strict=True):
        components[name] = min(components.get(name, 1.0), float(kept))
    broken = [name for (name, _), kept in zip(row.instructions, followed, strict=True) if not kept]
    return Verdict(
        reward=_reward(row, followed),
        components={**components, "followed": sum(followed) / len(followed)},
        details={"mode": row.mode, "broken": broken, "echo": echo},
    )


def _published_text(reply: Reply) -> str:
    """What the public server grades: the first part of the last output item, thinking included."""
    content = reply.items[-1].get("content") if reply.items else None
    if isinstance(content, str):
        return content
    first = content[0] if isinstance(content, list) and content else {}
    text = first.get("text") if isinstance(first, dict) else None
    return text if isinstance(text, str) else ""
