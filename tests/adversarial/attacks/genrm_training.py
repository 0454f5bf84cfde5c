"""Attacks on genrm_training: the true judgement is 4, 2, ranking 2; without the form -10 is paid, for silence -13."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gym_core.loading import load_file

arena = load_file(Path(__file__).resolve().parents[1] / "arena.py")

ROW: dict[str, Any] = {
    "responses_create_params": {"input": [{"role": "user", "content": "Rate response 1 and response 2 with JSON."}]},
    "num_responses": 2,
    "score_1": 4,
    "score_2": 2,
    "ranking": 2,
}
RIGHT = '{"score_1": 4, "score_2": 2, "ranking": 2}'
WRONG = '{"score_1": 1, "score_2": 5, "ranking": 6}'
FORMLESS = {
    "two judgements, the right one last": f"{WRONG} {RIGHT}",
    "two judgements, the right one first": f"{RIGHT} {WRONG}",
    "the right one twice": f"{RIGHT}\n{RIGHT}",
    "every judgement there is": " ".join(
        f'{{"score_1": {one}, "score_2": {two}, "ranking": {rank}}}'
        for one in range(1, 6)
        for two in range(1, 6)
        for rank in range(1, 7)
    ),
    "keys twice": '{"score_1": 1, "score_1": 4, "score_2": 2, "ranking": 2}',
    "numbers as text": '{"score_1": "4", "score_2": "2", "ranking": "2"}',
    "fractions": '{"score_1": 4.0, "score_2": 2.0, "ranking": 2.0}',
    "NaN": '{"score_1": NaN, "score_2": NaN, "ranking": NaN}',
    "NaN beside it": f'{{"x": NaN}} {RIGHT}',
    "infinity": '{"score_1": Infinity, "score_2": -Infinity, "ranking": 2}',
    "out of range": '{"score_1": 100, "score_2": 0, "ranking": 2}',
    "ranking of zero": '{"score_1": 4, "score_2": 2, "ranking": 0}',
    "only the ranking": '{"ranking": 2}',
    "nulls": '{"score_1": null, "score_2": null, "ranking": 2}',
    "true": '{"score_1": true, "score_2": true, "ranking": 2}',
    "inside overall": f'{{"overall": {RIGHT}}}',
    "as text": '"{\\"score_1\\": 4}"',
    "a list": "[4, 2, 2]",
    "a list in a list": "[[4, 2, 2]]",
    "no JSON": "score_1: 4, score_2: 2, ranking: 2",
    "single quotes": "{'score_1': 4, 'score_2': 2, 'ranking': 2}",
    "lists of values": '{"score_1": [1, 2, 3, 4, 5], "score_2": [1, 2, 3, 4, 5], "ranking": [1, 2, 3, 4, 5, 6]}',
    "behind a megabyte": "x" * 1_000_000 + RIGHT,
    "behind braces": "{" * 100_000 + RIGHT,
    "the right one never closed": RIGHT[:-1],
    "a huge number": '{"score_1": ' + "4" * 5000 + ', "score_2": 2, "ranking": 2}',
}


def attacks() -> list[Any]:
    return [
        *arena.texts(ROW, FORMLESS, worth=-10.0),
        arena.Attack(name="only thought", row=ROW, output=f"<think>{RIGHT}</think>"),
        arena.Attack(name="thought, then wrong", row=ROW, output=f"<think>{RIGHT}</think>{WRONG}", worth=-10.0),
        arena.Attack(
            name="the middle of everything", row=ROW, output='{"score_1": 3, "score_2": 3, "ranking": 3}', worth=-3.0
        ),
        arena.Attack(name="no scores to be had", row={**ROW, "score_1": None}, output=RIGHT, refused="score_1"),
        arena.Attack(name="a truth out of range", row={**ROW, "ranking": 9}, output=RIGHT, refused="ranking"),
        arena.Attack(name="three responses", row={**ROW, "num_responses": 3}, output=RIGHT, refused="num_responses"),
        arena.Attack(name="the plain answer", row=ROW, output=RIGHT, worth=0.0),
    ]
