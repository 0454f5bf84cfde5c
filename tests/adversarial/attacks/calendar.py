"""Attacks on calendar: one hour that ends by noon, three quarters of an hour after two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gym_core.loading import load_file

arena = load_file(Path(__file__).resolve().parents[1] / "arena.py")

DAY = {"min_time": "10:00", "max_time": "16:00"}
STATE = {
    "0": {"event_id": 0, "duration": 60, "constraint": "before 12pm", **DAY},
    "1": {"event_id": 1, "duration": 45, "constraint": "after 2pm", **DAY},
}


def row(state: Any = None) -> dict[str, Any]:
    return {
        "responses_create_params": {"input": "Keep my calendar as a JSON list."},
        "exp_cal_state": STATE if state is None else state,
    }


def event(number: Any, start: Any, duration: Any, name: Any = "x") -> dict[str, Any]:
    return {"event_id": number, "event_name": name, "start_time": start, "duration": duration}


def listed(*events: Any) -> str:
    return json.dumps(list(events))


FIRST, SECOND = event(0, "10:30", 60), event(1, "14:00", 45)
RIGHT = listed(FIRST, SECOND)
WRONG = listed(event(0, "11:30", 60), SECOND)
SAID = {
    "thought": f"<think>{RIGHT}</think>",
    "one missing": listed(FIRST),
    "one too many": listed(FIRST, SECOND, event(2, "12:00", 30)),
    "the same twice": listed(FIRST, SECOND, SECOND),
    "one id twice, all wishes covered": listed(FIRST, event(0, "12:00", 60), SECOND),
    "both ids the same": listed(event(1, "10:30", 60), event(1, "14:00", 45)),
    "swapped ids": listed(event(1, "10:30", 60), event(0, "14:00", 45)),
    "a duration as text": listed(event(0, "10:30", "60"), SECOND),
    "a duration of nothing": listed(event(0, "10:30", 0), event(1, "14:00", 0)),
    "a negative duration": listed(event(0, "11:30", -60), SECOND),
    "a huge duration": listed(event(0, "10:30", 10**400), SECOND),
    "no number as duration": RIGHT.replace("60", "NaN"),
    "true as duration": listed(event(0, "10:30", True), SECOND),
    "a duration list": listed(event(0, "10:30", [60]), SECOND),
    "a duration too short": listed(event(0, "10:30", 30), SECOND),
    "minutes that are none": listed(event(0, "09:90", 60), SECOND),
    "tomorrow": listed(event(0, "34:30", 60), SECOND),
    "before the day": listed(event(0, "04:30", 60), SECOND),
    "after the day": listed(FIRST, event(1, "15:45", 45)),
    "the wish missed by a minute": listed(event(0, "11:01", 60), SECOND),
    "all at once": listed(event(0, "14:00", 60), event(1, "14:00", 45)),
    "several starts": listed(event(0, ["10:30", "11:00"], 60), SECOND),
    "a start as a number": listed(event(0, 630, 60), SECOND),
    "a start with both": listed(event(0, "10:30 or 11:30", 60), SECOND),
    "an empty list": "[]",
    "lists in a list": json.dumps([[FIRST], [SECOND]]),
    "two lists, the wrong one last": f"{RIGHT}\n{WRONG}",
    "a key twice": RIGHT.replace('"duration": 60', '"duration": 30, "duration": 60').replace("10:30", "11:15"),
    "single quotes": str([FIRST, SECOND]).replace("10:30", "11:30"),
    "a comment": RIGHT.replace("10:30", "11:30") + " // 10:30",
    "a wish in the name": listed(event(0, "11:30", 60, "before 12pm, 10:30"), SECOND),
    "ids as floats": listed(event(0.5, "10:30", 60), SECOND),
    "ids as lists": listed(event([0], "10:30", 60), event([1], "14:00", 45)),
    "a trailing comma": RIGHT.replace("10:30", "11:30")[:-1] + ",]",
    "the expected state": json.dumps(STATE),
    "null": "null",
    "cut off": RIGHT[:-1],
}
BOMBS = {
    "the pattern that backtracks, 20": "[" + "{}" * 20,
    "the pattern that backtracks, 30,000": "[" + "{}" * 30_000,
    "brackets open": "[{" * 50_000,
    "a list at every place": "[]" * 40_000,
    "half lists": '[{"event_id": 0' * 8_000,
    "a million zeros": listed(event(0, "10:30", 60), SECOND).replace("60", "6" + "0" * 1_000_000),
    "ten thousand events": listed(*(event(n, "10:00", 15) for n in range(10_000))),
    "a start of a megabyte": listed(event(0, "1" * (1 << 20), 60), SECOND),
    "colons": listed(event(0, ":" * 100_000, 60), SECOND),
    "quotes": '["' * 30_000,
    "backslashes": '["' + "\\" * 500_001 + '"]',
}
ROWS = {
    "a list of wishes": [STATE["0"]],
    "a day too short": {"0": {**STATE["0"], "duration": 600}},
    "a wish nobody can read": {"0": {**STATE["0"], "constraint": "when it suits"}},
    "a negative duration wished": {"0": {**STATE["0"], "duration": -60}},
}


def attacks() -> list[Any]:
    return [
        *arena.texts(row(), SAID),
        *arena.texts(row(), BOMBS, bomb=True),
        *(
            arena.Attack(name=f"row: {name}", row=row(state), output=RIGHT, refused="exp_cal_state")
            for name, state in ROWS.items()
        ),
        arena.Attack(name="nothing wished, nothing said", row=row({}), output="Fine."),
        arena.Attack(name="only padding, something listed", row=row({"0": None}), output=RIGHT),
        arena.Attack(
            name="the right list in an object", row=row(), output=json.dumps({"events": [FIRST, SECOND]}), worth=1.0
        ),
        arena.Attack(name="the plain answer", row=row(), output=RIGHT, worth=1.0),
    ]
