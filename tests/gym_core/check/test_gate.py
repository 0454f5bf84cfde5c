"""The gate over environments of other kinds: rows only, judged, guessable, noisy, hanging, with a declared network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from gym_core.check.gate import QUICK, Report, check, refused, rule_ids
from gym_core.check.probe import canonical, differences, leaves
from gym_core.check.rules.cases import read_cases
from gym_core.check.rules.judged import RECORDING
from gym_core.check.subject import spread
from gym_core.check.wire import Wire
from gym_core.client import Client
from gym_core.judge.config import JudgeConfig
from gym_core.loading import load_file
from gym_core.registry import Registry
from gym_core.serve import start
from gym_core.server import build_app

VAULT = load_file(Path(__file__).with_name("vault.py"))

CAPITALS = '''
"""Capitals: rows from outside, judged where the words differ."""

from gym_core.environment import Environment, Verdict
from gym_core.errors import BadRow
from gym_core.judge.protocols import EQUIVALENCE


class Vault(Environment):
    """Name the capital; 1.0 for the name, 0.0 otherwise."""

    name = "vault"

    def ingest(self, task):
        if not isinstance(task.get("expected"), str):
            raise BadRow("`expected` must be a city", field="expected")
        return task

    def verify(self, task, session, reply):
        same = reply.text.strip() == task["expected"]
        return Verdict(reward=float(same), details={"undecided": not same and not reply.empty})

    async def judge(self, task, session, reply, verdict, judge):
        if not verdict.details["undecided"]:
            return verdict
        ruling = await judge.ask(EQUIVALENCE, question="Capital?", first=task["expected"], second=reply.text)
        return float(ruling.value)

    def oracle(self, task):
        return task["expected"]
'''


def row_case(kind: str, output: str, reward: float, city: str = "Lima", **more: Any) -> str:
    row = {"responses_create_params": {"input": f"Capital of the land whose capital is no other than {len(city)}?"}}
    return (
        json.dumps({"kind": kind, "row": {**row, "expected": city}, "output": output, "reward": reward, **more}) + "\n"
    )


ROW_CASES = (
    row_case("full", "Lima", 1.0)
    + row_case("full", "Reykjavik", 1.0, "Reykjavik")
    + row_case("zero", "Oslo", 0.0)
    + row_case("malformed", "", 0.0)
    + row_case("hacked", "Lima or Oslo", 0.0)
)


async def checked(folder: Path, *rules: str, **options: Any) -> Report:
    registry = Registry.at(folder)
    (name,) = registry.names()
    quick = msgspec.structs.replace(QUICK, **options)
    return await check(registry.manifest(name), registry.place(name), quick, only=rules)


async def test_rows_of_the_cases_stand_for_tasks_where_none_are_made(tmp_path: Path) -> None:
    folder = VAULT.write(tmp_path, code=CAPITALS, cases=ROW_CASES)
    report = await checked(folder)
    assert report.failures() == []
    skipped = {result.id: result.found for result in report.rules if result.status == "skip"}
    assert skipped["deterministic"] == "it generates no tasks"
    assert skipped["judge"] == f"its judge is optional, and there is no {RECORDING}"
    assert report.of("oracle").found == "1 on 2 tasks"


async def test_a_row_that_is_refused_is_named(tmp_path: Path) -> None:
    wrong = json.dumps({"kind": "zero", "row": {"responses_create_params": {"input": "x"}}, "output": "a", "reward": 0})
    report = await checked(VAULT.write(tmp_path, code=CAPITALS, cases=ROW_CASES + wrong), "tasks", "cases")
    assert "ingest row 2: `expected` must be a city" in report.of("tasks").found
    assert "case 6 (zero): " in report.of("cases").found


# A judge ---------------------------------------------------------------------------------------------------------


def judge_server() -> web.Application:
    """Says that two answers are equal where both name Lima."""

    async def complete(request: web.Request) -> web.Response:
        asked = (await request.json())["messages"][-1]["content"]
        label = "[[A=B]]" if asked.count("Lima") == 2 else "[[A!=B]]"
        return web.json_response({"choices": [{"message": {"role": "assistant", "content": label}}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    return app


JUDGED = row_case("full", "The city of Lima", 1.0, judged=True) + row_case("hacked", "A city: Oslo", 0.0, judged=True)


@pytest.fixture
async def recorded(tmp_path: Path) -> Path:
    """The judged environment beside its recording, made by a judge that is asked once."""
    folder: Path = VAULT.write(tmp_path, code=CAPITALS, cases=ROW_CASES + JUDGED)
    (loaded,) = (Registry.at(folder).load("vault"),)
    async with await start(judge_server()) as judge:
        config = JudgeConfig(base_url=judge.url, model="fake", recorded=str(folder / RECORDING), record=True)
        async with await start(build_app([loaded], judge=config)) as served, Client(served.url) as client:
            wire = Wire(client, keeps_sessions=False)
            for case in read_cases(folder):
                if case.judged:
                    assert (await wire.play(case.played_row(), case.script)).reward == case.reward
    return folder


async def test_a_recorded_judge_is_heard(recorded: Path) -> None:
    report = await checked(recorded)
    assert report.failures() == []
    assert report.of("judge").found == "2 cases"


async def test_a_judgement_that_was_not_recorded_is_no_reward(recorded: Path) -> None:
    with (recorded / "cases.jsonl").open("a") as file:
        file.write(row_case("full", "Ciudad de Lima", 1.0, judged=True))
    report = await checked(recorded, "judge", "cases")
    assert report.of("cases").status == "pass"
    assert "case 3 (full)" in report.of("judge").found and "no judgement" in report.of("judge").found


async def test_where_a_judge_is_needed_the_panels_wait_for_one(recorded: Path) -> None:
    code = recorded / "environment.py"
    code.write_text(code.read_text().replace('name = "vault"', 'name = "vault"\n    needs_judge = True'))
    with (recorded / "cases.jsonl").open("w") as file:
        file.write(ROW_CASES.replace("Lima or Oslo", "A city: Oslo").replace('"Oslo"', '"A city: Oslo"') + JUDGED)
    report = await checked(recorded, "oracle", "judge", "cases")
    assert report.of("oracle").status == "skip" and "need a judge" in report.of("oracle").found
    assert (report.of("judge").status, report.of("cases").status) == ("pass", "pass")


# Declared ----------------------------------------------------------------------------------------------------------


async def test_what_guessing_earns_may_be_declared(tmp_path: Path) -> None:
    edit = ("code = str(rng.randint(10**6, 10**7 - 1))", 'code = rng.choice(["heads", "tails"])')
    (tmp_path / "a").mkdir()
    report = await checked(VAULT.write(tmp_path / "a", edit), "constant", "shuffled")
    assert {rule.id for rule in report.failures()} == {"constant", "shuffled"}
    declared = VAULT.MANIFEST + "floor = 0.6\n"
    report = await checked(VAULT.write(tmp_path, edit, manifest=declared), "constant", "idle")
    assert report.failures() == []
    assert report.floors == {"floor": 0.6}
    assert report.figures.constant is not None and 0.3 < report.figures.constant < 0.8


async def test_a_declared_network_is_told_and_not_refused(tmp_path: Path) -> None:
    probe = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))"
    beyond = probe.replace("127.0.0.1", "192.0.2.7")
    edit = (
        'session.state["asked"] += 1',
        f'session.state["asked"] += 1\n        try: {beyond}\n        except OSError: pass',
    )
    outbound = VAULT.MANIFEST.replace('network = "none"', 'network = "outbound"')
    report = await checked(VAULT.write(tmp_path, edit, manifest=outbound), "network")
    assert report.of("network").status == "pass"
    assert report.of("network").found.startswith("192.0.2.7:9 at environment.py:")


# What must not disturb the gate --------------------------------------------------------------------------------------


async def test_an_author_who_prints_disturbs_nothing(tmp_path: Path) -> None:
    noisy = ("LETTERS =", "print('imported')\nLETTERS =")
    more = ("        code = str(", "        print('made')\n        code = str(")
    report = await checked(VAULT.write(tmp_path, noisy, more), "deterministic", "oracle")
    assert report.failures() == []


async def test_a_generator_that_hangs_is_ended(tmp_path: Path) -> None:
    edit = ("        code = str(", "        while level == 2: pass\n        code = str(")
    report = await checked(VAULT.write(tmp_path, edit), tasks_s=2.0)
    assert [rule.id for rule in report.failures()] == ["loads"]
    assert report.of("loads").found == "making its tasks took longer than 2 s"
    assert report.of("oracle").status == "skip"


async def test_a_tool_that_breaks_on_odd_words_is_noted(tmp_path: Path) -> None:
    edit = ('raise ToolFault(f"there is no box {box[:10]}")', 'return session.task["no_such_field"]')
    report = await checked(VAULT.write(tmp_path, edit), "tool_faults")
    assert report.of("tool_faults").status == "pass"
    assert "open_box broke on" in report.of("tool_faults").notes[0]


def test_what_could_not_be_found_whole_is_a_report_too() -> None:
    report = refused("lost", "manifest", "broken")
    assert [rule.id for rule in report.rules] == rule_ids()
    assert [(rule.id, rule.found) for rule in report.failures()] == [("manifest", "broken")]
    with pytest.raises(KeyError):
        report.of("no_such_rule")


# The probe's reading of tasks ----------------------------------------------------------------------------------------


class Thing:
    def __init__(self, size: int) -> None:
        self.size = size


def test_sets_keys_and_objects_are_read_in_one_order() -> None:
    assert canonical({"b": {3, 1}, "a": 1}) == canonical({"a": 1, "b": {1, 3}})
    assert canonical([1, 2]) != canonical([2, 1])
    assert canonical(Thing(1)) == canonical(Thing(1)) != canonical(Thing(2))
    assert canonical(1) != canonical("1") != canonical(True)


def test_hidden_values_are_found_at_every_depth() -> None:
    found = dict(leaves({"a": [1, {"b": "x"}], "t": Thing(5), "no": True, "none": None}, ""))
    assert found == {"a[0]": "1", "a[1].b": "x", "t.size": "5"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((1, 2), "tuple"),
        ({"a": {1: 2}}, "key 1"),
        ({1, 2}, "set"),
        (float("nan"), "float nan"),
        ([[1], (2,)], "[1] is tuple"),
    ],
)
def test_what_json_changes_is_told(value: Any, words: str) -> None:
    after = msgspec.json.decode(msgspec.json.encode(value))
    assert words in next(differences(value, after, "row"))


@pytest.mark.parametrize("value", [1, "a", None, True, 1.5, [1, [2]], {"a": {"b": []}}])
def test_what_json_keeps_is_no_difference(value: Any) -> None:
    assert list(differences(value, msgspec.json.decode(msgspec.json.encode(value)), "row")) == []


def test_a_spread_reaches_from_the_first_to_the_last() -> None:
    numbers: list[Any] = list(range(10))
    assert spread(numbers, 3) == [0, 4, 9]
    assert spread(numbers, 1) == [0]
    assert spread(numbers, 99) == numbers


async def test_a_file_fetched_at_import_is_a_matter_of_the_network(tmp_path: Path) -> None:
    edit = ("LETTERS =", "socket.getaddrinfo('data.example.org', 443)\nLETTERS =")
    report = await checked(VAULT.write(tmp_path, edit))
    assert [rule.id for rule in report.failures()] == ["loads", "network"]
    assert "data.example.org at environment.py" in report.of("network").found
