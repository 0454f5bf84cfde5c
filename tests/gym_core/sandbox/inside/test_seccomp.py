"""The filter, run by hand: what it refuses and what it lets through, on both machines."""

from __future__ import annotations

import pytest

from gym_core.sandbox.inside.seccomp import Instruction, of_a_cage, refusals

ALLOW, REFUSE = 0x7FFF0000, 0x00050001
X86, ARM, I386 = 0xC000003E, 0xC00000B7, 0x40000003


def verdict(program: list[Instruction], number: int, architecture: int, argument: int = 0) -> int:
    """What classic BPF does with a system call of this number and first argument."""
    place, loaded = 0, 0
    while True:
        code, yes, no, value = program[place]
        place += 1
        if code == 0x06:
            return value
        if code == 0x20:
            loaded = {0: number, 4: architecture, 16: argument}[value]
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


@pytest.mark.parametrize(
    ("machine", "architecture", "socket", "prlimit"), [("x86_64", X86, 41, 302), ("aarch64", ARM, 198, 261)]
)
def test_a_job_in_a_cage_has_no_local_sockets_and_sets_its_own_limits_only(
    machine: str, architecture: int, socket: int, prlimit: int
) -> None:
    program = of_a_cage(machine)
    asked = [(socket, 1), (socket, 2), (socket, 10), (prlimit, 0), (prlimit, 1), (0, 1), (63, 1)]
    found = [verdict(program, number, architecture, argument) == REFUSE for number, argument in asked]
    assert found == [True, False, False, False, True, False, False]
    assert verdict(program, 1, I386) == REFUSE
    assert verdict(program, 0x40000001, architecture) == REFUSE


def test_no_job_is_caged_on_a_machine_that_is_not_known() -> None:
    with pytest.raises(OSError, match="vax"):
        of_a_cage("vax")
