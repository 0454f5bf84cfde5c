"""The filter, run by hand: what it refuses and what it lets through, on both machines."""

from __future__ import annotations

import pytest

from gym_core.sandbox.inside.seccomp import Instruction, refusals

ALLOW, REFUSE = 0x7FFF0000, 0x00050001
X86, ARM, I386 = 0xC000003E, 0xC00000B7, 0x40000003


def verdict(program: list[Instruction], number: int, architecture: int) -> int:
    """What classic BPF does with a system call of this number."""
    place, loaded = 0, 0
    while True:
        code, yes, no, value = program[place]
        place += 1
        if code == 0x06:
            return value
        if code == 0x20:
            loaded = {0: number, 4: architecture}[value]
        else:
            place += yes if (loaded == value if code == 0x15 else loaded >= value) else no


@pytest.mark.parametrize(
    ("machine", "architecture", "refused", "allowed"),
    [
        ("x86_64", X86, (29, 101, 272, 310, 321, 425, 442), (0, 1, 56, 57, 59, 165, 231, 435)),
        ("aarch64", ARM, (194, 117, 97, 270, 280, 425, 442), (63, 64, 220, 221, 40, 94, 435)),
    ],
)
def test_listed_calls_are_refused_and_others_are_not(
    machine: str, architecture: int, refused: tuple[int, ...], allowed: tuple[int, ...]
) -> None:
    program = refusals(machine)
    assert program is not None
    assert [verdict(program, number, architecture) for number in refused] == [REFUSE] * len(refused)
    assert [verdict(program, number, architecture) for number in allowed] == [ALLOW] * len(allowed)


def test_other_entries_to_the_kernel_are_refused() -> None:
    program = refusals("x86_64")
    assert program is not None
    assert verdict(program, 1, I386) == REFUSE
    assert verdict(program, 0x40000001, X86) == REFUSE


def test_every_jump_stays_inside_and_fits_a_byte() -> None:
    for machine in ("x86_64", "aarch64"):
        program = refusals(machine) or []
        for place, (code, yes, no, _) in enumerate(program):
            assert code in (0x06, 0x20) or (max(yes, no) < 256 and place + 1 + max(yes, no) < len(program))


def test_an_unknown_machine_has_no_filter() -> None:
    assert refusals("vax") is None
