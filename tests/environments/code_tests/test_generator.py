"""Generated tasks: every solution agrees with its brute force, every slip is found, hard inputs stop slow programs."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from environments.code_tests.families import FAMILIES, at_level
from environments.code_tests.families.base import Family
from environments.code_tests.families.several_answers import check_order, check_two
from environments.code_tests.generator import LEVELS, LIMITS, _fails, _wrong, build, make, problem_of
from environments.code_tests.problem import MAX_TESTS
from gym_core.sandbox.choose import open_sandbox
from gym_core.sandbox.run import Ended, python_program

each = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def same(family: Family, text: str, right: str, said: str) -> bool:
    return family.check(text, said, right) if family.check else said == right


def test_there_are_families_enough_on_every_level() -> None:
    assert len([family for family in FAMILIES.values() if family.levels != (0,)]) >= 16
    assert all(len(at_level(level)) >= 3 for level in LEVELS if level)
    assert all(family.short for family in at_level(0)), "level 0 is for models that can write a line or two"


@each
def test_the_solution_agrees_with_the_brute_force(family: Family) -> None:
    rng = random.Random(family.name)
    for number in range(120):
        params = family.draw(rng, family.levels[number % len(family.levels)])
        text = family.case(rng, params, ("tiny", "edge", "random")[number % 3])
        right = family.answer(text, params)
        assert same(family, text, right, family.answer(text, params, family.brute)), (params, text)
        assert same(family, text, right, right)


@each
def test_every_slip_fails_a_test_of_every_task(family: Family) -> None:
    rng = random.Random(1)
    for level in family.levels:
        for _ in range(6):
            params = family.draw(rng, level)
            tests = [text for text in build(family, params, rng.getrandbits(48), level > 0) if len(text) < 5000]
            for number, slip in enumerate(family.slips):
                wrong = _wrong(family.name, number)
                assert any(_fails(family, params, wrong, text) for text in tests), (params, slip)


@each
def test_there_are_at_most_fifty_tests_and_none_expects_nothing(family: Family) -> None:
    rng = random.Random(2)
    params = family.draw(rng, family.levels[-1])
    problem = problem_of(family.name, params, 5, True)
    assert 4 <= len(problem.cases) <= MAX_TESTS
    assert all(case.output.strip() for case in problem.cases)
    assert problem == problem_of(family.name, params, 5, True)


def test_the_example_of_the_prompt_is_the_first_test() -> None:
    for level in LEVELS[1:]:  # the one line of level 0 has no example
        made = make(random.Random(level), level)
        case = problem_of(made["family"], made["params"], made["tests_seed"], made["sized"]).cases[0]  # type: ignore[arg-type]
        assert f"Example input:\n{case.input}Example output:\n{case.output}\n" in str(made["prompt"])


@pytest.mark.parametrize("output", ["1 2 3", "2 1 3", "IMPOSSIBLE", "1 3", "1 3 2 2", "x", "1e0 3 2", "", "1 3 2 " * 9])
def test_orders_are_checked(output: str) -> None:
    given = "3 2\n1 2\n3 2\n"
    assert check_order(given, output, "1 3 2") is (output in ("1 3 2", "3 1 2"))
    assert check_order(given, "3 1 2", "1 3 2") and check_order(given, "1 3\n2", "1 3 2")
    assert not check_order("2 2\n1 2\n2 1\n", "1 2", "IMPOSSIBLE")


def test_pairs_are_checked() -> None:
    given = "4\n1 4 7 1\n"
    right = ("1 2", "2 3", "2 4")
    for i in range(6):
        for j in range(6):
            assert check_two(given, f"{i} {j}", "1 2") is (f"{i} {j}" in right)
    assert (
        not check_two(given, "-1", "1 2")
        and not check_two("2\n1 1\n", "1 2", "-1")
        and check_two("2\n1 1\n", "-1", "-1")
    )
    assert not check_two(given, "1 2 3", "1 2") and not check_two(given, "9" * 5000, "1 2")


def test_levels_get_larger() -> None:
    rng = random.Random(3)
    for family in FAMILIES.values():
        sizes = [len(family.case(rng, family.draw(rng, level), "large")) for level in family.levels if level]
        if family.name not in ("divisors", "counting_out"):
            assert all(later >= earlier * 0.8 for earlier, later in pairwise(sizes)), (family.name, sizes)


@pytest.mark.slow
@pytest.mark.parametrize("name", [f.name for f in FAMILIES.values() if f.slow_brute and max(f.levels) >= 4])
def test_the_hardest_level_stops_the_brute_force(name: str) -> None:
    family = FAMILIES[name]
    rng = random.Random(4)
    params = family.draw(rng, max(family.levels))
    with open_sandbox() as sandbox:
        found = []
        for _ in range(4):
            text = family.case(rng, params, "large").encode()
            slow = sandbox.run(python_program(family.program(params, family.brute)), text, LIMITS)
            found.append(slow.ended is not Ended.OK)
            quick = sandbox.run(python_program(family.program(params)), text, LIMITS)
            assert quick.ended is Ended.OK and quick.cpu_s < LIMITS.cpu_s / 2
        assert any(found)
