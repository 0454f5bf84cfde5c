"""Tasks on a small bank, from one call to a split bill, each with the script that solves it.

The expected final state is not computed a second time: the script is played on a copy of the books, and the books it
leaves are the ones a policy must leave. Level 0 is for the smallest models: accounts are called by their owner's name.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from environments.ledger.bank import Account, Bank, Books
from gym_core.environment import Call, Script

LEVELS = range(6)

_NAMES = (
    "Ana Bo Cara Dan Eva Finn Gus Hana Ivo Jan Kai Lea Max Nia Otto Pia Quin Rui Sam Tara Uma Vic Wes Xia Yuri Zoe "
    "Abe Bea Cleo Dov Eli Flo Gia Hugo Ida Jude Kim Liv Milo Noa"
)
NAMES = _NAMES.split()
FEW_NAMES = 24
"""Level 0 knows so many people."""

DEPOSITS = (
    "Add {n} to {a}.", "Add {n} for {a}.", "Give {a} {n}.", "Give {n} to {a}.", "Pay {n} to {a}.", "Pay {a} {n}.",
    "Put {n} in for {a}.", "Credit {a} {n}.", "Credit {n} to {a}.", "Deposit {n} for {a}.", "Book {n} for {a}.",
    "Top up {a} by {n}.",
)  # fmt: skip


@dataclass(slots=True)
class Scene:
    """A world being written: its books, and the calls a perfect agent makes, played as they are written down."""

    rng: random.Random
    books: Books = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    looked_up: dict[str, str] = field(default_factory=dict)
    bank: Bank = field(default_factory=lambda: Bank({}))

    def people(self, count: int, low: int = 20, high: int = 99) -> list[str]:
        """`count` owners of the scene, the accounts of some others around them."""
        names = self.rng.sample(NAMES, count + self.rng.randint(2, 5))
        ids = self.rng.sample(range(10, 100), len(names))
        for name, number in zip(names, ids, strict=True):
            account = Account(f"A{number}", name, self.rng.randint(low, high))
            self.books[account.id] = account
        return names[:count]

    def start(self) -> None:
        self.bank = Bank.opened(self.books)

    def look_up(self, owner: str) -> str:
        """The owner's account id; the lookup is written down once."""
        if owner not in self.looked_up:
            self.looked_up[owner] = self.bank.find(owner)[0].id
            self.calls.append(Call("find_account", {"owner": owner}))
        return self.looked_up[owner]

    def balance(self, owner: str) -> int:
        account = self.look_up(owner)
        self.calls.append(Call("get_balance", {"account": account}))
        return self.bank.account(account).balance

    def deposit(self, owner: str, amount: int) -> None:
        account = self.look_up(owner)
        self.bank.deposit(account, amount)
        self.calls.append(Call("deposit", {"account": account, "amount": amount}))

    def withdraw(self, owner: str, amount: int) -> None:
        account = self.look_up(owner)
        self.bank.withdraw(account, amount)
        self.calls.append(Call("withdraw", {"account": account, "amount": amount}))

    def transfer(self, payer: str, payee: str, amount: int) -> None:
        source, target = self.look_up(payer), self.look_up(payee)
        self.bank.transfer(source, target, amount)
        self.calls.append(Call("transfer", {"source": source, "target": target, "amount": amount}))

    def freeze(self, owner: str, frozen: bool) -> None:
        account = self.look_up(owner)
        self.bank.freeze(account, frozen)
        self.calls.append(Call("freeze_account" if frozen else "unfreeze_account", {"account": account}))

    def task(self, prompt: str, tools: list[str], answer: int | None = None) -> dict[str, Any]:
        return {
            "prompt": prompt,
            "tools": tools,
            "books": self.books,
            "expected": self.bank.accounts,
            "answer": answer,
            "script": Script(tuple(self.calls), "done" if answer is None else str(answer)),
        }


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """Prompt, declared tools, and hidden: books, expected books, answer, script."""
    story: Callable[[Scene], dict[str, Any]] = rng.choice(STORIES[level])
    return story(Scene(rng))


def _one_call(scene: Scene) -> dict[str, Any]:
    """`Add 5 to Ana.`: one call; accounts bear their owners' names."""
    for name in scene.rng.sample(NAMES[:FEW_NAMES], 3):
        scene.books[name] = Account(name, name, scene.rng.randint(0, 9))
    scene.start()
    name, amount = scene.rng.choice(list(scene.books)), scene.rng.randint(1, 9)
    scene.bank.deposit(name, amount)
    scene.calls.append(Call("deposit", {"account": name, "amount": amount}))
    return scene.task(scene.rng.choice(DEPOSITS).format(a=name, n=amount), ["deposit"])


def _find_then_add(scene: Scene) -> dict[str, Any]:
    (name,) = scene.people(1)
    scene.start()
    amount = scene.rng.randint(1, 19)
    scene.deposit(name, amount)
    wishes = ("Add {n} to {a}'s account.", "Put {n} into {a}'s account.", "Credit {a}'s account with {n}.")
    return scene.task(scene.rng.choice(wishes).format(n=amount, a=name), ["find_account", "deposit"])


def _find_then_take(scene: Scene) -> dict[str, Any]:
    (name,) = scene.people(1)
    scene.start()
    amount = scene.rng.randint(1, 19)
    scene.withdraw(name, amount)
    wish = scene.rng.choice(("Take {n} from {a}'s account.", "Withdraw {n} from {a}'s account.", "Cash {n} for {a}."))
    return scene.task(wish.format(n=amount, a=name), ["find_account", "withdraw"])


def _move(scene: Scene) -> dict[str, Any]:
    payer, payee = scene.people(2)
    scene.start()
    amount = scene.rng.randint(1, 19)
    scene.transfer(payer, payee, amount)
    wish = scene.rng.choice(("Move {n} from {a} to {b}.", "{a} pays {b} {n}.", "Transfer {n} to {b} from {a}."))
    return scene.task(wish.format(n=amount, a=payer, b=payee), ["find_account", "transfer", "deposit"])


def _move_all(scene: Scene) -> dict[str, Any]:
    payer, payee = scene.people(2)
    scene.start()
    scene.transfer(payer, payee, scene.balance(payer))
    wish = scene.rng.choice(("Move all of {a}'s money to {b}.", "{a} gives {b} everything."))
    return scene.task(wish.format(a=payer, b=payee), ["find_account", "get_balance", "transfer"])


def _add_and_tell(scene: Scene) -> dict[str, Any]:
    (name,) = scene.people(1)
    scene.start()
    amount = scene.rng.randint(1, 9)
    scene.deposit(name, amount)
    answer = scene.balance(name)
    prompt = f"Add {amount} to {name}'s account. Answer with the new balance only."
    return scene.task(prompt, ["find_account", "get_balance", "deposit"], answer)


def _only_tell(scene: Scene) -> dict[str, Any]:
    one, two = scene.people(2)
    scene.start()
    answer = scene.balance(one) + scene.balance(two)
    prompt = f"How much do {one} and {two} have together? Answer with the number only."
    return scene.task(prompt, ["find_account", "get_balance", "transfer"], answer)


def _if_enough(scene: Scene) -> dict[str, Any]:
    payer, payee = scene.people(2)
    scene.start()
    limit, amount, gift = scene.rng.randint(30, 85), scene.rng.randint(1, 19), scene.rng.randint(1, 9)
    if scene.balance(payer) >= limit:
        scene.transfer(payer, payee, amount)
    else:
        scene.deposit(payer, gift)
    prompt = f"If {payer} has at least {limit}, move {amount} from {payer} to {payee}. Otherwise add {gift} to {payer}."
    return scene.task(prompt, ["find_account", "get_balance", "deposit", "transfer"])


def _thaw_pay_tell(scene: Scene) -> dict[str, Any]:
    payer, payee = scene.people(2)
    frozen = next(account for account in scene.books.values() if account.owner == payer)
    scene.books[frozen.id] = Account(frozen.id, payer, frozen.balance, frozen=True)
    scene.start()
    amount = scene.rng.randint(1, 19)
    scene.freeze(payer, False)
    scene.transfer(payer, payee, amount)
    answer = scene.balance(payer)
    prompt = (
        f"Unfreeze {payer}'s account, then move {amount} from {payer} to {payee}. "
        f"Answer with {payer}'s new balance only."
    )
    return scene.task(prompt, ["find_account", "get_balance", "transfer", "freeze_account", "unfreeze_account"], answer)


ALL = ["find_account", "get_balance", "deposit", "withdraw", "transfer", "freeze_account", "unfreeze_account"]


def _split_bill(scene: Scene) -> dict[str, Any]:
    """Everyone who ate pays an equal share back; who falls below a limit is frozen."""
    host, *guests = scene.people(scene.rng.randint(3, 4))
    scene.start()
    share, limit = scene.rng.randint(2, 15), scene.rng.randint(15, 60)
    for guest in guests:
        scene.transfer(guest, host, share)
    for guest in guests:
        if scene.balance(guest) < limit:
            scene.freeze(guest, True)
    everyone = ", ".join(guests)
    prompt = (
        f"{host} paid a bill of {share * (len(guests) + 1)} for {host}, {everyone}. Split it equally: each of the "
        f"others pays {host} back a share. Then freeze every account of {everyone} that has less than {limit}."
    )
    return scene.task(prompt, ALL)


def _level_out(scene: Scene) -> dict[str, Any]:
    """The richest gives to the poorest; the sum of both is told."""
    people = scene.people(3)
    scene.start()
    balances = {name: scene.balance(name) for name in people}
    while len(set(balances.values())) < 3:
        name = scene.rng.choice(people)
        account = scene.looked_up[name]
        scene.books[account] = Account(account, name, scene.rng.randint(20, 99))
        scene.start()
        balances[name] = scene.books[account].balance
    rich, poor = max(people, key=balances.__getitem__), min(people, key=balances.__getitem__)
    amount = scene.rng.randint(1, 19)
    scene.transfer(rich, poor, amount)
    prompt = (
        f"Of {', '.join(people)}, the one with the most money pays {amount} to the one with the least. "
        "Answer only with the new balance of the one who paid."
    )
    return scene.task(prompt, ALL, balances[rich] - amount)


STORIES: tuple[tuple[Callable[[Scene], dict[str, Any]], ...], ...] = (
    (_one_call,),
    (_find_then_add, _find_then_take),
    (_move,),
    (_move_all, _add_and_tell, _only_tell),
    (_if_enough, _thaw_pay_tell),
    (_split_bill, _level_out),
)
"""By level."""
