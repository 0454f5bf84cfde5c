"""Attacks on ledger: books of a session, moved by tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gym_core.environment import Call
from gym_core.loading import load_file

arena = load_file(Path(__file__).resolve().parents[1] / "arena.py")

ROW = {
    "responses_create_params": {"input": "Move 3 from Ana to Bo, then say what Bo has."},
    "world": {
        "accounts": [
            {"id": "A1", "owner": "Ana", "balance": 10},
            {"id": "B1", "owner": "Bo", "balance": 1},
            {"id": "C1", "owner": "Cy", "balance": 5, "frozen": True},
            {"id": "D1", "owner": "Di", "balance": 50},
        ]
    },
    "expected": {"accounts": {"A1": {"balance": 7}, "B1": {"balance": 4}}, "answer": 4},
}


def move(amount: Any = 3, source: str = "A1", target: str = "B1") -> Call:
    return Call("transfer", {"source": source, "target": target, "amount": amount})


def put(account: str, amount: Any) -> Call:
    return Call("deposit", {"account": account, "amount": amount})


def take(account: str, amount: Any) -> Call:
    return Call("withdraw", {"account": account, "amount": amount})


PLAYS: dict[str, tuple[tuple[Call, ...], str]] = {
    "says it is done": ((), "Done. Bo has 4."),
    "the number alone": ((), "4"),
    "looks only": ((Call("find_account", {"owner": "Bo"}), Call("get_balance", {"account": "B1"})), "4"),
    "moves, says another number": ((move(),), "5"),
    "moves, says two numbers": ((move(),), "4 or 5"),
    "moves, says the old number too": ((move(),), "From 1 to 4"),
    "moves, says nothing": ((move(),), ""),
    "moves, thinks the number": ((move(),), "<think>4</think>"),
    "moves twice": ((move(), move()), "4"),
    "moves backwards": ((move(3, "B1", "A1"),), "4"),
    "moves too much": ((move(10),), "4"),
    "moves a part": ((move(2),), "4"),
    "puts without taking": ((put("B1", 3),), "4"),
    "takes without putting": ((take("A1", 3),), "4"),
    "a gift on top": ((move(), put("D1", 1)), "4"),
    "freezes others": ((move(), Call("freeze_account", {"account": "A1"})), "4"),
    "unfreezes others": ((move(), Call("unfreeze_account", {"account": "C1"})), "4"),
    "a negative amount": ((move(-3, "B1", "A1"),), "4"),
    "a fraction": ((move(3.5), move(-0.5)), "4"),
    "text for a number": ((move("3"),), "4"),
    "true for one": ((move(True), move(True), move(True)), "4"),
    "not a number": ((put("B1", None),), "4"),
    "a huge number": ((put("B1", 10**30),), "4"),
    "to itself": ((move(3, "A1", "A1"),), "4"),
    "an account that is not there": ((move(3, "A1", "B2"),), "4"),
    "an owner for an id": ((Call("transfer", {"source": "Ana", "target": "Bo", "amount": 3}),), "4"),
    "another field": ((Call("transfer", {"source": "A1", "target": "B1", "amount": 3, "reward": 1}),), "4"),
    "from the frozen one": ((move(3, "C1", "B1"), take("A1", 3)), "4"),
    "the verifier as a tool": ((Call("verify", {"reward": 1.0}),), "4"),
    "a session as a tool": ((Call("seed_session", ROW),), "4"),
    "a method of the object": ((Call("__init__", {}), Call("oracle", {}), Call("close", {})), "4"),
    "a path": ((Call("../ledger/transfer", {"source": "A1", "target": "B1", "amount": 99}),), "4"),
    "the books as an argument": ((Call("deposit", {"account": "B1", "amount": 3, "books": {}}),), "4"),
    "an id of a megabyte": ((put("B" * (1 << 20), 3),), "4"),
    "deep arguments": ((Call("deposit", {"account": [[[[[[[]]]]]]], "amount": 3}),), "4"),
    "many small gifts": (tuple(put("B1", 1) for _ in range(200)), "4"),
    "words that look like a call": ((), '<tool_call>{"name": "transfer"}</tool_call> 4'),
    "the number in other digits": ((move(),), "\u0664"),
    "the number by a sum": ((move(),), "1+3"),
}
FAKE = [
    {"type": "function_call", "name": "transfer", "call_id": "c",
     "arguments": '{"source":"A1","target":"B1","amount":3}'},
    {"type": "function_call_output", "call_id": "c", "output": "ok"},
    {"type": "message", "role": "assistant", "content": "4"},
]  # fmt: skip
EMPTY = {**ROW, "expected": {}}
STRAY = {**ROW, "expected": {"accounts": {"Z9": {"balance": 1}}}}


def attacks() -> list[Any]:
    plays = [arena.Attack(name=name, row=ROW, calls=calls, output=said) for name, (calls, said) in PLAYS.items()]
    return [
        *plays,
        arena.Attack(name="calls that were never made", row=ROW, output=FAKE),
        arena.Attack(name="damage and repair", row=ROW, calls=(move(5), move(2, "B1", "A1")), output="4", worth=1.0),
        arena.Attack(name="blanks around an id", row=ROW, calls=(move(3, " A1", "B1 "),), output="4", worth=1.0),
        arena.Attack(name="in two steps", row=ROW, calls=(move(1), move(2)), output="4", worth=1.0),
        arena.Attack(name="a row that asks for nothing", row=EMPTY, refused="expected"),
        arena.Attack(name="a row about nobody", row=STRAY, refused="expected"),
        arena.Attack(name="a row without a world", row={**ROW, "world": None}, refused="world"),
        arena.Attack(
            name="a world with one id twice",
            row={**ROW, "world": {"accounts": [{"id": "A1", "owner": "a"}, {"id": "A1", "owner": "b"}]}},
            refused="world",
        ),
    ]
