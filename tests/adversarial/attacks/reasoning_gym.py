"""Attacks on reasoning-gym: items of generators whose public graders pay for less than an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gym_core.loading import load_file

arena = load_file(Path(__file__).resolve().parents[1] / "arena.py")

GOLD = "3037"


def row(name: str = "chain_sum", answer: Any = GOLD, **metadata: Any) -> dict[str, Any]:
    question = "State the final answer to the following arithmetic problem: 859 + 467 - 914 + 807 + 961 + 857 ="
    return {
        "responses_create_params": {"input": [{"role": "user", "content": question}]},
        "question": question,
        "answer": answer,
        "metadata": {"source_dataset": name, "source_index": 0, **metadata},
    }


SAID = {
    "junk": "asdf",
    "gold in junk": f"zzz {GOLD} zzz",
    "gold in junk, tagged": f"<answer>zzz {GOLD} zzz</answer>",
    "numbers sprayed": " ".join(str(number) for number in range(3000, 3100)),
    "two answers": f"<answer>{GOLD}</answer> or <answer>1</answer>",
    "two answers in one tag": f"<answer>{GOLD} or 1</answer>",
    "gold and another line": f"<answer>{GOLD}\n1</answer>",
    "the sum left undone": "<answer>859 + 467 - 914 + 807 + 961 + 857</answer>",
    "an equation": f"<answer>x = {GOLD} = 5</answer>",
    "a digit more": f"<answer>{GOLD}0</answer>",
    "a digit less": f"<answer>{GOLD[:-1]}</answer>",
    "the digits apart": "<answer>3 0 3 7</answer>",
    "a sign": f"<answer>-{GOLD}</answer>",
    "nearly": "<answer>3037.0001</answer>",
    "not a number": "<answer>nan</answer>",
    "infinity": "<answer>inf</answer>",
    "a number as a power": "<answer>3037e0e0</answer>",
    "a tag without an end": f"<answer>{GOLD} <answer>1",
    "tags inside out": f"</answer>{GOLD}<answer>",
    "tags in tags": f"<answer><answer>{GOLD}</answer>1</answer>",
    "an empty tag": "<answer></answer>",
    "two boxes": rf"\boxed{{{GOLD}}} \boxed{{7}}",
    "a box and a tag that differ": rf"\boxed{{{GOLD}}} <answer>7</answer>",
    "thought": f"<think><answer>{GOLD}</answer></think>",
    "the metadata": '{"source_dataset": "chain_sum", "answer": "3037"}',
    "a comment": f"<!-- <answer>{GOLD}</answer> -->\n<answer>1</answer>",
    "python": "<answer>__import__('os').getpid()</answer>",
    "a name": "<answer>answer</answer>",
    "a placeholder": "<answer>{answer}</answer>",
    "gold in an attribute": f"<answer value={GOLD}>1</answer>",
}
BOMBS = {
    "a million digits": f"<answer>{'9' * 1_000_000}</answer>",
    "a tower of powers": "<answer>9**9**9**9</answer>",
    "deep parentheses": f"<answer>{'(' * 50_000}1{')' * 50_000}</answer>",
    "deep lists": f"<answer>{'[' * 50_000}{']' * 50_000}</answer>",
    "tags without end": "<answer>1" * 50_000,
    "a huge product": "<answer>" + "x".join(["99999999999999999"] * 500) + "</answer>",
}


def attacks() -> list[Any]:
    halting = row("game_of_life_halting", "True")
    return [
        *arena.texts(row(), SAID),
        *arena.texts(row(), BOMBS, bomb=True),
        arena.Attack(
            name="a grader that raises", row=row("prime_factorization", "2 × 3"), output="<answer>junk</answer>"
        ),
        arena.Attack(
            name="a product that is not the number",
            row=row("prime_factorization", "2 × 3", number=6),
            output="<answer>2 × 2</answer>",
        ),
        arena.Attack(name="a generator that pays for anything", row=halting, output="anything"),
        arena.Attack(name="an unknown generator", row=row("no_such"), output=GOLD, refused="metadata.source_dataset"),
        arena.Attack(name="no generator", row=row("", "1"), output=GOLD, refused="metadata.source_dataset"),
        arena.Attack(name="a module for a generator", row=row("os.system"), output=GOLD, refused="metadata"),
        arena.Attack(name="no gold", row=row(answer=""), output="", refused="answer"),
        arena.Attack(name="gold that is no text", row=row(answer=[1]), output="1", refused="answer"),
        arena.Attack(
            name="an item that would take for ever",
            row={
                "responses_create_params": {"input": "?"},
                "name": "chain_sum",
                "config": {"min_digits": 10**6, "max_digits": 10**7},
                "seed": 1,
                "index": 0,
            },
            output="1",
            refused="config",
        ),
        arena.Attack(
            name="an item of another question",
            row={
                "responses_create_params": {"input": "What is 1+1?"},
                "name": "chain_sum",
                "config": {},
                "seed": 1,
                "index": 0,
            },
            output="2",
            refused="responses_create_params.input",
        ),
        arena.Attack(name="the plain answer", row=row(), output=f"<answer>{GOLD}</answer>", worth=1.0),
    ]
