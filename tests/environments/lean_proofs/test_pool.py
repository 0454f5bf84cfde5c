"""Warm REPLs: one header is read once, processes are bounded, broken ones are replaced."""

import asyncio
import sys

import pytest

from environments.lean_proofs.pool import ReplPool
from environments.lean_proofs.protocol import Command
from environments.lean_proofs.repl import Repl, ReplFault
from gym_core.errors import DeadlineExceeded

CODE = """
import json, sys
said, env = [], -1
for line in sys.stdin:
    if line.strip():
        said.append(line)
    elif said:
        command = json.loads("".join(said)); said = []
        if command["cmd"] == "hang":
            sys.stdin.read()
        env += 1
        error = {"severity": "error", "pos": {"line": 1, "column": 0}, "data": "no such module"}
        answer = {"env": env, **({"messages": [error]} if "import Nothing" in command["cmd"] else {})}
        print(json.dumps(answer) + "\\n", flush=True)
"""


class Started:
    """Starts the program above, and counts."""

    def __init__(self):
        self.repls = []

    async def __call__(self):
        repl = await Repl.of([sys.executable, "-c", CODE])
        self.repls.append(repl)
        return repl


async def ask(pool, header, cmd="x"):
    async with pool.lease(header) as (repl, env):
        answer = await repl.ask(Command(cmd=cmd, env=env), timeout_s=30)
        return repl, env, answer


async def test_a_header_is_read_once():
    started = Started()
    pool = ReplPool(started, size=2)
    first, env, _ = await ask(pool, "import A")
    again, env_again, _ = await ask(pool, "import A")
    assert first is again and env == env_again == 0
    assert first.asked == 3 and len(started.repls) == 1
    await pool.close()
    assert not first.alive


async def test_no_more_processes_than_the_size_and_the_oldest_makes_room():
    started = Started()
    pool = ReplPool(started, size=2)
    for header in ("import A", "import B", "import C"):
        await ask(pool, header)
    assert [repl.alive for repl in started.repls] == [False, True, True]
    await ask(pool, "import B")
    assert len(started.repls) == 3
    await pool.close()


async def test_side_by_side_each_has_a_process_of_its_own():
    started = Started()
    pool = ReplPool(started, size=2)
    both = asyncio.Barrier(2)

    async def hold():
        async with pool.lease("import A") as (repl, _):
            await both.wait()
            return repl

    one, other = await asyncio.gather(hold(), hold())
    assert one is not other
    await pool.close()


async def test_one_that_hung_is_replaced():
    started = Started()
    pool = ReplPool(started, size=1)
    async with pool.lease("import A") as (repl, env):
        with pytest.raises(DeadlineExceeded):
            await repl.ask(Command(cmd="hang", env=env), timeout_s=0.5)
    fresh, _, _ = await ask(pool, "import A")
    assert fresh is not repl and not repl.alive
    await pool.close()


async def test_one_that_has_been_asked_enough_is_replaced():
    started = Started()
    pool = ReplPool(started, size=1, max_asked=2)
    await ask(pool, "import A")
    await ask(pool, "import A")
    assert len(started.repls) == 2
    await pool.close()


async def test_a_header_that_lean_refuses_is_a_fault_and_leaves_no_process():
    started = Started()
    pool = ReplPool(started, size=1)
    with pytest.raises(ReplFault, match="no such module"):
        await ask(pool, "import Nothing")
    assert not started.repls[0].alive
    await ask(pool, "import A")
    await pool.close()
