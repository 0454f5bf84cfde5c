"""Rows that people write by hand: a `world` of accounts and what is `expected` of it; everything else is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from environments.ledger.bank import MAX_AMOUNT, Account, Books
from gym_core.contracts import Task
from gym_core.errors import BadRow
from gym_core.tools import ToolSpec


class AccountRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    owner: str
    balance: int = 0
    frozen: bool = False


class World(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    accounts: list[AccountRow]


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    balance: int | None = None
    frozen: bool | None = None


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Accounts not named must stay as they are; `answer` is the number the reply must give."""

    accounts: dict[str, Change] = {}
    answer: int | None = None


class CallRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Any] = {}


def read_row(task: Task, specs: dict[str, ToolSpec]) -> Task:
    """The task with its hidden books. Raises `BadRow` naming the field."""
    books = _books(_typed(task, "world", World))
    expected = _typed(task, "expected", Expected)
    end = _end(books, expected)
    if end == books and expected.answer is None:
        raise BadRow(
            "`expected` asks for no change and no answer: doing nothing would be right",
            field="expected",
            hint='for example {"accounts": {"A1": {"balance": 15}}} or {"answer": 15}',
        )
    if task.get("calls") is not None:
        _typed(task, "calls", list[CallRow])
    hidden = {**task.hidden, "books": books, "expected": end, "answer": expected.answer}
    return msgspec.structs.replace(task, responses_create_params=_with_tools(task, specs), hidden=hidden)


def _typed(task: Task, name: str, kind: Any) -> Any:
    given = task.fields.get(name)
    if given is None:
        raise BadRow(
            f"a ledger row needs `{name}`", field=name, hint="this environment takes rows of its own shape, see README"
        )
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        raise BadRow(what, field=name + path.rstrip("`")) from None


def _books(world: World) -> Books:
    books: Books = {}
    for number, row in enumerate(world.accounts):
        where = f"world.accounts[{number}]"
        if not row.id.strip() or row.id != row.id.strip() or row.id in books:
            raise BadRow("an account id must be unique, not empty, and without spaces around", field=f"{where}.id")
        if not row.owner.strip():
            raise BadRow("an account needs an owner", field=f"{where}.owner")
        if not 0 <= row.balance <= MAX_AMOUNT:
            raise BadRow(f"a balance lies between 0 and {MAX_AMOUNT}", field=f"{where}.balance")
        books[row.id] = Account(row.id, row.owner, row.balance, row.frozen)
    if not books:
        raise BadRow("a world needs at least one account", field="world.accounts")
    return books


def _end(books: Books, expected: Expected) -> Books:
    end = dict(books)
    for account_id, change in expected.accounts.items():
        where = f"expected.accounts.{account_id}"
        if account_id not in books:
            raise BadRow(f"no account {account_id!r} in `world`", field=where)
        before = books[account_id]
        balance = before.balance if change.balance is None else change.balance
        if not 0 <= balance <= MAX_AMOUNT:
            raise BadRow(f"a balance lies between 0 and {MAX_AMOUNT}", field=f"{where}.balance")
        frozen = before.frozen if change.frozen is None else change.frozen
        end[account_id] = replace(before, balance=balance, frozen=frozen)
    return end


def _with_tools(task: Task, specs: dict[str, ToolSpec]) -> dict[str, Any]:
    """The parameters with tools: all of ours where the row declares none, its own choice of ours otherwise."""
    params = task.responses_create_params
    if not params.get("tools"):
        return {**params, "tools": [spec.declaration() for spec in specs.values()]}
    if not isinstance(params["tools"], list):
        raise BadRow("`tools` must be a list", field="responses_create_params.tools")
    for number, declared in enumerate(params["tools"]):
        name = declared.get("name") if isinstance(declared, dict) else None
        if name not in specs:
            raise BadRow(
                f"no tool {name!r}",
                field=f"responses_create_params.tools[{number}].name",
                hint=f"the tools are {', '.join(specs)}",
            )
    return params
