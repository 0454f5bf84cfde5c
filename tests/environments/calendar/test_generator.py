"""Dialogues that can be solved, by a second solver too; nothing said is contradicted by what is wanted."""

import json
import random
import re
from itertools import pairwise

import pytest

from environments.calendar.environment import Calendar
from environments.calendar.published import grade_published
from environments.calendar.times import lenient_minutes, strict_minutes
from gym_core.environment import Session
from gym_core.generate import make_tasks
from gym_core.reply import read_reply, text_output

ENVIRONMENT = Calendar()
GRID = range(600, 961, 15)


def reward(task, text):
    return ENVIRONMENT.verify(task, Session("s", task), read_reply(text_output(text))).reward


def satisfied(entry, start):
    """The published wording of a constraint, read here once more."""
    end, said = start + entry["duration"], entry["constraint"] or ""
    times = [lenient_minutes(moment) for moment in re.findall(r"\d+(?::\d+)?[ap]m", said)]
    checks = {
        "": lambda: True,
        "before": lambda: end <= times[0],
        "after": lambda: start >= times[0],
        "between": lambda: start >= times[0] and end <= times[1],
        "at": lambda: start == times[0],
    }
    return end <= 960 and checks[said.split(" ")[0]]()


def search(entries, taken=()):
    """Depth-first over a grid of quarters of an hour, most constrained event first."""
    if not entries:
        return []
    free = {
        key: [
            start
            for start in GRID
            if satisfied(entry, start) and all(start + entry["duration"] <= s or start >= s + d for s, d in taken)
        ]
        for key, entry in entries.items()
    }
    key = min(free, key=lambda key: len(free[key]))
    rest = {other: entry for other, entry in entries.items() if other != key}
    for start in free[key]:
        found = search(rest, (*taken, (start, entries[key]["duration"])))
        if found is not None:
            return [(key, start), *found]
    return None


@pytest.mark.parametrize("level", Calendar.levels)
def test_a_second_solver_and_the_public_verifier_agree(level):
    for task in make_tasks(ENVIRONMENT, seed=2, level=level, count=40):
        state = task["exp_cal_state"]
        found = search(state)
        assert found is not None
        calendar = [
            {
                "event_id": int(key),
                "event_name": task["names"][key],
                "start_time": f"{start // 60}:{start % 60:02d}",
                "duration": state[key]["duration"],
            }
            for key, start in found
        ]
        assert reward(task, json.dumps(calendar)) == 1.0
        assert grade_published(state, json.dumps(calendar)) == (1.0, "pass")


@pytest.mark.parametrize("level", Calendar.levels)
def test_the_oracle_earns_everything_and_its_damages_nothing(level):
    draw = random.Random(level)
    tasks = make_tasks(ENVIRONMENT, seed=3, level=level, count=40)
    for task in tasks:
        best = ENVIRONMENT.oracle(task)
        assert reward(task, best) == 1.0
        assert ENVIRONMENT.verify_published(task, Session("s", task), read_reply(text_output(best))).reward == 1.0
        events = json.loads(best)
        if not events:
            continue
        hurt = draw.choice(events)
        for field, value in (
            ("duration", hurt["duration"] + 15),
            ("duration", -hurt["duration"]),
            ("event_id", 99),
            ("event_name", "another"),
            ("start_time", "16:00"),
            ("start_time", "9:00"),
        ):
            damaged = [{**event, field: value} if event is hurt else event for event in events]
            assert reward(task, json.dumps(damaged)) == 0.0
        assert reward(task, json.dumps(events[1:])) == 0.0
        assert reward(task, json.dumps([*events, {**hurt, "event_id": 98}])) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("level", Calendar.levels)
def test_the_oracle_of_a_thousand_tasks(level):
    for task in make_tasks(ENVIRONMENT, seed=4, level=level, count=1000):
        assert reward(task, ENVIRONMENT.oracle(task)) == 1.0


@pytest.mark.parametrize("level", range(1, 6))
def test_every_calendar_shown_on_the_way_holds_no_overlap_and_ends_with_a_user(level):
    for task in make_tasks(ENVIRONMENT, seed=5, level=level, count=30):
        roles = [message["role"] for message in task.messages]
        assert roles[0] == "system" and roles[1::2] == ["user"] * len(roles[1::2])
        assert roles[2::2] == ["assistant"] * len(roles[2::2])
        assert roles[-1] == "user"
        for message in task.messages[2::2]:
            events = json.loads(message["content"][message["content"].index("[") :])
            spans = sorted((strict_minutes(event["start_time"]), event["duration"]) for event in events)
            assert all(start + length <= after for (start, length), (after, _) in pairwise(spans))


def test_the_names_and_ids_that_are_wanted_were_said():
    for level in Calendar.levels:
        for task in make_tasks(ENVIRONMENT, seed=6, level=level, count=20):
            said = " ".join(message["content"] for message in task.messages if message["role"] == "user")
            for key, name in task["names"].items():
                assert name in said
                assert re.search(rf"(?i)id(?:| is|:) {key}\b", said)


def test_level_0_is_one_short_line():
    tasks = make_tasks(ENVIRONMENT, seed=0, level=0, count=2000)
    assert max(len(task.messages[0]["content"].split()) for task in tasks) <= 20
    assert all(len(task.messages) == 1 and len(task["exp_cal_state"]) == 1 for task in tasks)


@pytest.mark.parametrize("level", range(1, 6))
def test_repeating_the_last_calendar_is_rarely_enough(level):
    tasks = make_tasks(ENVIRONMENT, seed=7, level=level, count=100)
    last = [[m["content"] for m in task.messages if m["role"] == "assistant"][-1:] for task in tasks]
    assert sum(reward(task, text[0]) for task, text in zip(tasks, last, strict=True) if text) <= 20


def test_hidden_fields_stay_home():
    for task in make_tasks(ENVIRONMENT, seed=0, level=3, count=5):
        assert not {"exp_cal_state", "names"} & set(task.to_row())
