"""Tasks: templates, two routes to every ground truth, look-ups that show what is written, oracle and idle rewards."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import date

import pytest

from environments.workplace.company import COMPANIES, company
from environments.workplace.environment import Workplace
from environments.workplace.facts import RowFacts, SqlFacts
from environments.workplace.generator import ATTEMPTS, LEVELS, tell
from environments.workplace.templates.story import DOMAINS, TEMPLATES, Template, Untold, day_name
from environments.workplace.toolbox import READ_ONLY, TOOLS, run
from gym_core.contracts import TaskRef
from gym_core.environment import Script
from gym_core.generate import make_task
from gym_core.play import play_script

each = pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)


def test_there_are_enough_templates_over_all_domains_and_levels() -> None:
    assert len(TEMPLATES) >= 69
    assert len({template.name for template in TEMPLATES}) == len(TEMPLATES)
    assert set(Counter(template.domain for template in TEMPLATES)) == set(DOMAINS)
    assert {template.level for template in TEMPLATES} == set(LEVELS)


def told(template: Template, seed: int, facts: RowFacts | SqlFacts, number: int) -> tuple[str, object, object] | None:
    found = tell(template, random.Random(seed), company(number), facts)
    return None if found is None else (found[0], found[1].calls, found[1].answer)


@pytest.fixture(scope="module")
def routes() -> Iterator[list[tuple[RowFacts, SqlFacts]]]:
    made = [(RowFacts(company(number)), SqlFacts(company(number))) for number in range(COMPANIES)]
    yield made
    for _, sql in made:
        sql.close()


@each
def test_two_routes_lead_to_the_same_ground_truth(template: Template, routes: list[tuple[RowFacts, SqlFacts]]) -> None:
    met = 0
    for seed in range(40):
        number = seed % COMPANIES
        one, other = (told(template, seed, facts, number) for facts in routes[number])
        assert one == other
        met += one is not None
    assert met


def test_a_template_that_cannot_be_told_is_given_up() -> None:
    def never(story: object) -> str:
        raise Untold

    assert tell(Template("never", "email", 0, never), random.Random(1), company(0), RowFacts(company(0))) is None
    assert ATTEMPTS > 100


@pytest.mark.parametrize("level", LEVELS)
async def test_the_oracle_is_paid_by_both_gradings_and_silence_by_none(level: int) -> None:
    environment = Workplace()
    for index in range(12):
        task = make_task(environment, TaskRef(seed=31, level=level, index=index, split="train"))
        _, verdict = await play_script(environment, task)
        assert verdict is not None and set(verdict.gradings.values()) == {1.0}, (task["template"], verdict)
        assert verdict.components["undone"] == verdict.components["collateral"] == 0.0
        _, idle = await play_script(environment, task, "")
        assert idle is not None and idle.reward == 0.0


@pytest.mark.parametrize("level", LEVELS)
def test_ids_that_are_written_were_read_or_given(level: int) -> None:
    """The oracle knows nothing that its look-ups, the prompt and earlier answers did not show."""
    environment = Workplace()
    for index in range(15):
        task = make_task(environment, TaskRef(seed=32, level=level, index=index, split="train"))
        desk = environment.setup(task)
        shown = json.dumps(task.responses_create_params["input"])
        for call in environment.oracle(task).calls:
            if call.name not in READ_ONLY:
                for name, value in call.arguments.items():
                    if name.endswith("_id") or name == "recipient":
                        assert value in shown, (task["template"], call)
            shown += json.dumps(run(desk, call.name, call.arguments))
        desk.close()


def test_level_0_needs_no_look_up_and_declares_two_tools() -> None:
    environment = Workplace()
    for index in range(40):
        task = make_task(environment, TaskRef(seed=33, level=0, index=index, split="train"))
        script = environment.oracle(task)
        assert isinstance(script, Script)
        (call,) = script.calls
        assert call.name not in READ_ONLY
        assert len(task.responses_create_params["tools"]) == 2
        assert call.name in {tool["name"] for tool in task.responses_create_params["tools"]}


def test_higher_levels_declare_all_tools_and_name_the_world() -> None:
    task = make_task(Workplace(), TaskRef(seed=33, level=3, index=0, split="train"))
    assert [tool["name"] for tool in task.responses_create_params["tools"]] == list(TOOLS)
    assert company(task["world"]).domain in task.responses_create_params["input"][0]["content"]


def test_conditions_go_both_ways(routes: list[tuple[RowFacts, SqlFacts]]) -> None:
    """Templates that say what to do otherwise meet both branches, in what is drawn."""
    seen: dict[str, set[bool]] = {}
    for template in TEMPLATES:
        for seed in range(48):
            number = seed % COMPANIES
            found = tell(template, random.Random(seed), company(number), routes[number][0])
            if found is not None and "therwise change nothing" in found[0]:
                seen.setdefault(template.name, set()).add(found[1].answer is not None)
    assert len(seen) >= 7
    assert all(branches == {True, False} for branches in seen.values()), seen


def test_days_are_said_without_a_leading_zero() -> None:
    assert day_name(date(2023, 12, 1)) == "December 1"
