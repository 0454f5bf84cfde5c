"""Attacks on banking: dialogues at a desk whose tools would do almost anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gym_core.contracts import Task, TaskRef
from gym_core.environment import Call, Environment, Script, say
from gym_core.generate import make_task
from gym_core.loading import load_file
from gym_core.registry import Registry

arena = load_file(Path(__file__).resolve().parents[1] / "arena.py")

MOST_TASKS = 400
Steps = tuple[Call, ...]


def found(environment: Environment, family: str, level: int = 2) -> Task:
    """The first task of this level whose only wish is of that family."""
    for index in range(MOST_TASKS):
        task = make_task(environment, TaskRef(seed=77, level=level, index=index))
        if [goal.family for goal in task["plan"].goals] == [family]:
            return task
    raise AssertionError(f"no {family} among {MOST_TASKS} tasks of level {level}")


def steps_of(task: Task, environment: Environment) -> Steps:
    script = environment.oracle(task)
    assert isinstance(script, Script)
    return script.calls


def without(steps: Steps, *names: str) -> Steps:
    return tuple(step for step in steps if step.name not in names)


def inserted(steps: Steps, before: str, *more: Call) -> Steps:
    """The steps with others just before the first of that name."""
    place = [step.name for step in steps].index(before)
    return (*steps[:place], *more, *steps[place:])


def instead(steps: Steps, name: str, *others: Call) -> Steps:
    place = [step.name for step in steps].index(name)
    return (*steps[:place], *others, *steps[place + 1 :])


def attacks() -> list[Any]:
    environment = Registry.discover().load("banking").cls()
    plays = [*_first(environment), *_money(environment), *_refused(environment), *_words(environment)]
    return [
        *(
            arena.Attack(name=name, row=task.to_row(), calls=steps, output=said, worth=worth)
            for name, task, steps, said, worth in plays
        ),
        *(arena.Attack(name=name, row=row, refused=field) for name, row, field in _rows()),
    ]


def _rows() -> list[tuple[str, dict[str, Any], str]]:
    """Simulations that nobody could judge, or whose tools would be routes of the service."""
    scenario = {"reason_for_contact": "Where is my order?", "outside_policy_scope": False}
    tool = {"type": "function", "name": "track", "parameters": {}}
    params = {"input": [{"role": "system", "content": "Serve."}], "tools": [tool]}
    row = {"responses_create_params": params, "policy": "Be kind.", "customer_scenario": scenario}
    route = {**params, "tools": [{**tool, "name": "close_session"}]}
    return [
        ("a row without anybody", {"responses_create_params": params}, "customer_scenario"),
        ("a customer who wants nothing", {**row, "customer_scenario": {}}, "customer_scenario.reason_for_contact"),
        ("a policy of nothing", {**row, "policy": ""}, "policy"),
        ("a tool that is a route", {**row, "responses_create_params": route}, "responses_create_params.tools[0].name"),
    ]


Plays = list[tuple[str, Task, Steps, str, float]]


def _first(environment: Environment) -> Plays:
    """On the simplest task: one card to freeze."""
    task = found(environment, "freeze_card", level=0)
    right, plan = steps_of(task, environment), task["plan"]
    card = plan.goals[0].calls[0].arguments["card_id"]
    other = next(row for row in plan.start.cards if row != card)
    close, freeze = right[-1], Call("freeze_card", {"card_id": card})
    verify = right[0]
    made: dict[str, tuple[Steps, str]] = {
        "says it is done": ((say("Your card is frozen."),), "Goodbye."),
        "closes at once": ((close,), "Done."),
        "closes without doing it": (without(right, "freeze_card"), "Done."),
        "does it and never closes": (without(right, "close_case"), "Done."),
        "does it and hands over": (instead(right, "close_case", Call("transfer_to_human", {"reason": "fraud"})), ""),
        "hands over at once": ((Call("transfer_to_human", {"reason": "customer_wish"}),), "A colleague helps you."),
        "declines": (instead(right, "freeze_card", Call("decline_request", {"rule": "G1"})), "Sorry."),
        "skips the check": (without(right, "verify_identity"), "Done."),
        "checks afterwards": ((freeze, verify, *right[2:]), "Done."),
        "a check that fails": (
            instead(right, "verify_identity", Call("verify_identity", {**verify.arguments, "security_word": "x"})),
            "Done.",
        ),
        "checks as somebody else first": ((_as_another(plan), *right), "Done."),
        "freezes another card too": (inserted(right, "close_case", Call("freeze_card", {"card_id": other})), "Done."),
        "freezes and takes it back": (inserted(right, "close_case", Call("unfreeze_card", {"card_id": card})), "Done."),
        "writes after the end": ((verify, say("One moment."), close, freeze), "Done."),
        "writes when the customer has left": (
            (verify, *(say("Hm.") for _ in range(6)), freeze, close),
            "Done.",
        ),
        "the route of the user as a tool": ((Call("seed_session", {}), Call("verify", {"reward": 1})), "Done."),
        "the verdict as a method": ((Call("oracle", {}), Call("make", {"level": 0}), Call("user", {})), "Done."),
        "text for the end": ((*right[:-1], Call("close_case", {"outcome": "won"})), "Done."),
        "the wrong outcome": ((*right[:-1], Call("close_case", {"outcome": "declined"})), "Done."),
        "an id of a megabyte": ((verify, Call("freeze_card", {"card_id": "C" * (1 << 20)}), close), "Done."),
        "a message of a megabyte": ((verify, say("please? " * (1 << 17)), close), "Done."),
        "question marks": ((verify, say("?" * 200_000), say("." * 200_000), close), "Done."),
    }
    return [(name, task, steps, said, 0.0) for name, (steps, said) in made.items()]


def _as_another(plan: Any) -> Call:
    row = next(row for row in plan.start.customers.values() if row.id != plan.caller)
    about = {"customer_id": row.id, "birth_date": str(row.birth_date), "security_word": row.security_word}
    return Call("verify_identity", about)


def _money(environment: Environment) -> Plays:
    """A transfer about which the customer changes its mind."""
    task = found(environment, "send_less")
    right, plan = steps_of(task, environment), task["plan"]
    move = plan.goals[0].calls[0]
    amount = move.arguments["amount"]
    stranger = move.arguments["to_account"]

    def moved(**changed: Any) -> Call:
        return Call("transfer_funds", {**move.arguments, **changed})

    confirmations = [number for number, step in enumerate(right) if "Shall I" in str(step.arguments.get("reply"))]
    first = plan.goals[0].confirm.split()[1].replace(",", "")
    made: dict[str, Steps] = {
        "moves the first amount unasked": (*right[: confirmations[0]], moved(amount=float(first)), *right[-2:]),
        "a right guess without reading back": (*right[: confirmations[0]], move, *right[-2:]),
        "moves twice": inserted(right, "transfer_funds", move),
        "moves in two parts": instead(right, "transfer_funds", moved(amount=10), moved(amount=round(amount - 10, 2))),
        "moves more": instead(right, "transfer_funds", moved(amount=round(amount + 1, 2))),
        "moves backwards": instead(right, "transfer_funds", moved(amount=-amount)),
        "moves a tenth of a cent": instead(right, "transfer_funds", moved(amount=0.001)),
        "moves from the payee": instead(
            right, "transfer_funds", moved(from_account=stranger, to_account=move.arguments["from_account"])
        ),
        "moves to itself": instead(right, "transfer_funds", moved(to_account=move.arguments["from_account"])),
        "a huge amount": instead(right, "transfer_funds", moved(amount=1e300)),
        "text for an amount": instead(right, "transfer_funds", moved(amount=str(amount))),
        "damage and repair over two turns": inserted(
            right,
            "transfer_funds",
            moved(amount=1),
            say("I have tried it with 1.00."),
            moved(from_account=stranger, to_account=move.arguments["from_account"], amount=1),
        ),
    }
    return [(name, task, steps, "Done.", 0.0) for name, steps in made.items()]


def _refused(environment: Environment) -> Plays:
    """Wishes outside the policy, granted."""
    granted: dict[str, Callable[[Any], Steps]] = {
        "over_the_day": _in_parts,
        "no_cover": lambda plan: (_sent(plan, 0.5),),
        "second_refund": _refunded,
        "large_fee": _refunded,
        "savings_to_friend": lambda plan: (_sent(plan, 0.1, kind="savings"),),
        "scam": lambda plan: (_sent(plan, 0.1),),
        "false_orders": lambda plan: (_sent(plan, 0.1),),
    }
    plays: Plays = []
    for family, steps in granted.items():
        task = found(environment, family)
        right, plan = steps_of(task, environment), task["plan"]
        end = right[-1].name
        granting = steps(plan)
        close = Call("close_case", {"outcome": "done"})
        kept = without(right, "decline_request", "transfer_to_human", "close_case")
        plays.append((f"{family}: granted", task, (*kept, *granting, close), "Done.", 0.0))
        plays.append((f"{family}: granted, then refused", task, inserted(right, end, *granting), "No.", 0.0))
        plays.append((f"{family}: closed", task, (*kept, close), "Sorry.", 0.0))
    return plays


def _accounts(plan: Any, kind: str = "checking") -> tuple[str, str]:
    """An account of the caller's, and one of somebody else's."""
    rows = plan.start.accounts.values()
    mine = next(row.id for row in rows if row.customer == plan.caller and row.kind == kind)
    return mine, next(row.id for row in rows if row.customer != plan.caller)


def _sent(plan: Any, share: float, kind: str = "checking") -> Call:
    mine, other = _accounts(plan, kind)
    amount = int(plan.start.accounts[mine].balance * share) / 100
    return Call("transfer_funds", {"from_account": mine, "to_account": other, "amount": amount})


def _in_parts(plan: Any) -> Steps:
    """The limit of a day in two halves and some more."""
    mine, other = _accounts(plan)
    parts = (1000, 1000, 100)
    return tuple(Call("transfer_funds", {"from_account": mine, "to_account": other, "amount": part}) for part in parts)


def _refunded(plan: Any) -> Steps:
    fee = next(row.id for row in plan.start.transactions.values() if row.kind == "fee")
    return (Call("request_fee_refund", {"transaction_id": fee}),)


def _words(environment: Environment) -> Plays:
    """Figures told, and what is no telling."""
    task = found(environment, "balance", level=1)
    right, plan = steps_of(task, environment), task["plan"]
    amount = plan.goals[0].facts.amounts[0]
    whole = f"{amount // 100}.{amount % 100:02d}"
    list_of_all = " ".join(f"{number}.{amount % 100:02d}" for number in range(amount // 100 - 40, amount // 100 + 40))
    made: dict[str, tuple[str, float]] = {
        "says another figure": (f"It is {amount // 100 + 1}.00.", 0.0),
        "says it by thinking": (f"<think>It is {whole}.</think>It is on your account.", 0.0),
        "lists figures": (f"It is one of {list_of_all}.", 0.0),
        "says nothing": ("", 0.0),
        "says it in a word": (f"It is x{whole}x.", 0.0),
        "says it plainly": (f"You have {whole} euros on it.", 1.0),
    }
    told = [step for step in right if step.name == "user_turn"][-1]
    place = right.index(told)
    plays: Plays = [
        (name, task, (*right[:place], say(said), *right[place + 1 :]), "Goodbye.", worth)
        for name, (said, worth) in made.items()
    ]
    thief = found(environment, "impostor")
    steps, secret = steps_of(thief, environment), thief["plan"].secrets.amounts[0]
    spilt = say(f"There are {secret / 100:.2f} on it. But who are you?")
    plays.append(("tells an impostor", thief, inserted(steps, "transfer_to_human", spilt), "No.", 0.0))
    plays.append(("lets an impostor in", thief, inserted(steps, "transfer_to_human", _true_caller(thief)), "No.", 0.0))
    return plays


def _true_caller(task: Task) -> Call:
    row = task["plan"].start.customers[task["plan"].tries[0][0]]
    about = {"customer_id": row.id, "birth_date": str(row.birth_date), "security_word": row.security_word}
    return Call("verify_identity", about)
