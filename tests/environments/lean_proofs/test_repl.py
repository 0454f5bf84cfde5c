"""The REPL client against every recorded exchange, and against processes that misbehave."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import msgspec
import pytest

from environments.lean_proofs.protocol import Command, TacticCommand, decode, decode_command, encode
from environments.lean_proofs.repl import Repl, ReplFault
from gym_core.errors import DeadlineExceeded

HERE = Path(__file__).parent
KNOWN = ("env", "messages", "sorries", "tactics", "infotree", "proofState", "proofStatus", "goals", "traces", "message")


def blocks(path):
    return [block for block in re.split(r"\n\s*\n", path.read_text()) if block.strip()]


async def program(code):
    return await Repl.of([sys.executable, "-c", code])


async def test_every_recorded_exchange_is_replayed(recorded):
    """Commands leave as they were recorded, answers are read whole: nothing is lost on the way in or out.

    A recorded command may break its line inside a text: the REPL joins lines without a break.
    """
    exchanges = sorted(recorded.glob("*.expected.out"))
    assert len(exchanges) >= 50
    gate = asyncio.Semaphore(4)
    count = 0

    async def replay(expected):
        nonlocal count
        given = expected.with_name(expected.name.replace(".expected.out", ".in"))
        async with gate:
            repl = await Repl.of([sys.executable, str(HERE / "recorded_repl.py"), str(given), str(expected)])
            try:
                for block, said in zip(blocks(given), blocks(expected), strict=True):
                    answer = await repl.ask(decode_command(block.replace("\n", "")), timeout_s=60)
                    wanted = json.loads(said)
                    assert set(wanted) <= set(KNOWN), set(wanted) - set(KNOWN)
                    told = msgspec.to_builtins(answer)
                    for key, value in wanted.items():
                        assert same(told[key], value), (expected.name, key)
                    count += 1
            finally:
                await repl.close()

    async with asyncio.TaskGroup() as group:
        for expected in exchanges:
            group.create_task(replay(expected))
    assert count > 150


def same(told, wanted):
    """Equal, where fields that were not sent have their defaults."""
    if isinstance(wanted, list):
        return len(told) == len(wanted) and all(map(same, told, wanted))
    if isinstance(wanted, dict):
        return all(same(told[key], value) for key, value in wanted.items())
    return told == wanted


def test_a_command_without_an_environment_says_none():
    assert json.loads(encode(Command(cmd="def f := 1"))) == {"cmd": "def f := 1"}
    assert json.loads(encode(Command(cmd="def f := 1", env=0))) == {"cmd": "def f := 1", "env": 0}
    assert json.loads(encode(TacticCommand(tactic="rfl", proofState=0))) == {"tactic": "rfl", "proofState": 0}


def test_line_breaks_in_a_command_never_end_it():
    assert encode(Command(cmd="def f := 1\n\ndef g := 2")).count(b"\n\n") == 1


def test_what_completes_a_proof():
    assert decode(b'{"proofStatus": "Completed", "proofState": 1, "goals": []}').completed
    assert not decode(b'{"proofStatus": "Incomplete: contains sorry", "proofState": 1, "goals": []}').completed
    assert not decode(b'{"proofStatus": "Incomplete: open goals remain", "goals": ["a"]}').completed


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.stdin.readline(); sys.exit(3)", "ended in the middle"),
        (
            "import sys; sys.stdin.readline(); print('no json', flush=True); print(flush=True); sys.stdin.read()",
            "no answer",
        ),
        ("import sys; sys.stdin.readline(); print('[1]\\n', flush=True); sys.stdin.read()", "no answer"),
        ("import sys; sys.stdin.readline(); sys.stdout.write('x' * 9_000_000); sys.stdin.read()", "gone"),
    ],
)
async def test_a_process_that_answers_nonsense_is_over(code, said):
    repl = await program(code)
    with pytest.raises(ReplFault, match=said):
        await repl.ask(Command(cmd="x"), timeout_s=60)
    assert not repl.alive
    with pytest.raises(ReplFault):
        await repl.ask(Command(cmd="x"))
    await repl.close()


async def test_a_process_that_hangs_is_killed_with_its_children():
    repl = await program(
        "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, file=sys.stderr); p.wait()"
    )
    with pytest.raises(DeadlineExceeded, match="killed"):
        await repl.ask(Command(cmd="x"), timeout_s=0.5)
    assert not repl.alive
    assert not os.path.exists(f"/proc/{repl._process.pid}")


async def test_a_caller_that_goes_away_ends_the_process():
    """Its answer must not be taken for that of the next question."""
    repl = await program("import sys; sys.stdin.read()")
    asking = asyncio.ensure_future(repl.ask(Command(cmd="x"), timeout_s=60))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert repl.asked == 0 or not repl.alive
    await repl.close()
    assert not repl.alive
