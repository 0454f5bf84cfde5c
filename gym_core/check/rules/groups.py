"""Verdicts on a group: the same for each member in whatever order they arrive."""

from __future__ import annotations

from gym_core.check.rule import Failed, Skipped, rule
from gym_core.check.subject import Subject
from gym_core.check.wire import Items
from gym_core.environment import Script


@rule(
    "group_order",
    "each member of a group earns the same in whatever order they arrive",
    fix="judge in both orders, or sort the entries by what they say; never pay for a position",
)
async def group_order(subject: Subject) -> str:
    if not subject.wire.judges_groups:
        raise Skipped("it judges single rollouts")
    tasks = subject.solved(per_level=1)
    for number, task in enumerate(tasks):
        other = tasks[number - 1].script
        members: dict[str, str | Script | Items] = {
            "oracle": task.script,
            "idle": "",
            "junk": "asdf qwer zxcv",
            "another's answer": other,
        }
        names = list(members)
        rewards = []
        for order in (names, names[::-1], names[2:] + names[:2]):
            played = await subject.wire.group(task.row, [members[name] for name in order])
            rewards.append({name: found.reward for name, found in zip(order, played, strict=True)})
        for found in rewards[1:]:
            moved = [name for name in names if found[name] != rewards[0][name]]
            if moved:
                raise Failed(f"{moved[0]} earns {rewards[0][moved[0]]:g} and, in another order, {found[moved[0]]:g}")
    return f"{len(tasks)} groups of 4 in 3 orders"
