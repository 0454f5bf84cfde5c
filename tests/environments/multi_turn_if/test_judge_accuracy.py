"""A judge measured against the exact checks: one that is never wrong, one that always says yes, one that is away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from environments.multi_turn_if import judge_accuracy, rows
from environments.multi_turn_if.environment import MultiTurnIf
from environments.multi_turn_if.items import unpacked
from environments.multi_turn_if.judge_accuracy import Agreement, Asked, measure, shown, variants
from gym_core.generate import make_tasks
from gym_core.judge.protocols import RUBRIC, RUBRIC_PUBLISHED
from gym_core.judge.recording import Recording


def tasks(count: int = 2) -> list[Any]:
    environment = MultiTurnIf()
    return [task for level in (0, 3) for task in make_tasks(environment, seed=0, level=level, count=count)]


def asked(kind: str, holds: bool, ruled: bool | None) -> Asked:
    return Asked(level=0, kind=kind, variant="best", holds=holds, ruled=ruled)


def test_counts_and_kappa_by_hand() -> None:
    found = Agreement([asked("a", True, True)] * 4 + [asked("a", False, False)] * 3 + [asked("b", True, False)]
                      + [asked("b", False, True)] * 2 + [asked("b", True, None)])  # fmt: skip
    assert found.counts() == {"yes": 4, "no": 3, "too_harsh": 1, "too_kind": 2, "faults": 1}
    assert found.accuracy() == 0.7 and found.accuracy(kind="a") == 1.0 and found.accuracy(kind="b") == 0.0
    # 5 of 10 hold, 6 of 10 were ruled so: chance (5 * 6 + 5 * 4) / 100 = 0.5
    assert found.kappa() == pytest.approx((0.7 - 0.5) / 0.5)
    assert Agreement().accuracy() is None and Agreement([asked("a", True, None)]).kappa() is None


def test_variants_are_different_answers() -> None:
    made = variants("Captain: 12 is it", "no")
    assert made["best"] == "Captain: 12 is it"
    assert (made["one more"], made["first word missing"]) == ("Captain: 13 is it", "12 is it")
    assert list(variants("12", "12")) == ["best", "one more", "a remark after it"]


async def test_a_judge_that_knows_the_checks_agrees_always(bench: Any) -> None:
    known = {}
    for task, other in zip(tasks(), [*tasks()[1:], tasks()[0]], strict=True):
        for text in variants(task["best"], other["best"]).values():
            for item in unpacked(task["items"]):
                known[f"Response:\n<<<\n{text}\n>>>\n\nQuestion:\n<<<\n{item.question}\n>>>"] = item.holds(text)

    def exact(body: dict[str, Any]) -> str:
        prompt = body["messages"][-1]["content"]
        return "[[YES]]" if known["Response:" + prompt.rpartition("\n\nResponse:")[2]] else "[[NO]]"

    found = await measure((await bench(exact)).client, tasks())
    assert found.accuracy() == 1.0 and found.kappa() == 1.0
    assert found.counts()["no"] >= 5 and found.counts()["yes"] >= 5


async def test_a_judge_that_always_says_yes_is_only_too_kind(bench: Any) -> None:
    found = await measure((await bench("[[YES]]")).client, tasks(), RUBRIC_PUBLISHED)
    assert found.counts()["too_kind"] > 0 and found.counts()["too_harsh"] == 0
    assert found.kappa() == 0.0
    assert found.accuracy(variant="best") == 1.0
    assert any(line.startswith("accuracy ") for line in shown(found))


async def test_what_has_no_ruling_is_counted_apart(bench: Any) -> None:
    found = await measure((await bench("hm", retries=0)).client, tasks(1))
    assert found.counts()["faults"] == len(found.asked) - found.counts()["yes"] - found.counts()["no"]
    assert found.counts()["faults"] > 0


def test_the_command_says_when_there_is_no_judge(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[judge]\n")
    assert judge_accuracy.main(["--config", str(file), "--tasks", "1"]) == 2
    assert "no ruling at all" in capsys.readouterr().err
    assert judge_accuracy.main(["--config", str(tmp_path / "absent.toml")]) == 2
    assert "absent.toml" in capsys.readouterr().err


def test_the_command_measures_a_recording(tmp_path: Path, capsys: Any) -> None:
    recording = Recording(tmp_path / "said.jsonl", must_exist=False)
    environment = MultiTurnIf()
    made = [task for level in environment.levels for task in make_tasks(environment, seed=0, level=level, count=1)]
    for task in made:
        for item in unpacked(task["items"]):
            fields = {"context": rows.context(task), "response": task["best"], "question": item.question}
            recording.write(RUBRIC.name, "m", RUBRIC.messages(fields), "[[YES]]", (1, 1))
    file = tmp_path / "config.toml"
    file.write_text(f'[judge]\nrecorded = "{tmp_path / "said.jsonl"}"\n')
    assert judge_accuracy.main(["--config", str(file), "--tasks", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["variant"]["best"] == 1.0 and report["counts"]["faults"] > 0
