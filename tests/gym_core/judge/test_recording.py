"""Recorded judgements: written as they come, replayed without a judge, unknown ones refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gym_core.errors import BadRequest, JudgeFault
from gym_core.judge.client import JudgeClient
from gym_core.judge.config import JudgeConfig
from gym_core.judge.protocols import EQUIVALENCE

PAIR = {"question": "q", "first": "1", "second": "one"}


async def test_what_was_recorded_is_replayed_without_a_judge(bench: Any, tmp_path: Path) -> None:
    file = tmp_path / "judge.jsonl"
    made = await bench("hm", "[[A=B]]", recorded=str(file), record=True)
    recorded = made.client.judge()
    assert (await recorded.ask(EQUIVALENCE, **PAIR)).value is True
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["protocol"], line["model"], line["reply"]) for line in lines] == [
        ("equivalence", "m", "hm"),
        ("equivalence", "m", "[[A=B]]"),
        ("equivalence", "m", "[[A=B]]"),
    ]
    asked = len(made.fake.asked)
    async with JudgeClient(JudgeConfig(recorded=str(file), input_price=1.0)) as client:
        judge = client.judge()
        assert (await judge.ask(EQUIVALENCE, **PAIR)).value is True
        assert judge.account.replies == recorded.account.replies
        assert judge.account.input_tokens == recorded.account.input_tokens == 300
    assert len(made.fake.asked) == asked


async def test_an_unknown_request_is_refused_by_name(bench: Any, tmp_path: Path) -> None:
    file = tmp_path / "judge.jsonl"
    made = await bench("[[A!=B]]", recorded=str(file), record=True)
    await made.client.judge().ask(EQUIVALENCE, **PAIR)
    async with JudgeClient(JudgeConfig(recorded=str(file))) as client:
        with pytest.raises(JudgeFault, match=r"judge.jsonl has no judgement for request [0-9a-f]{16} of") as fault:
            await client.judge().ask(EQUIVALENCE, **{**PAIR, "second": "two"})
    assert "record" in fault.value.hint


async def test_the_later_of_two_recordings_counts(bench: Any, tmp_path: Path) -> None:
    file = tmp_path / "judge.jsonl"
    for said in ("[[A=B]]", "[[A!=B]]"):
        made = await bench(said, recorded=str(file), record=True)
        await made.client.judge().ask(EQUIVALENCE, **PAIR)
    async with JudgeClient(JudgeConfig(recorded=str(file))) as client:
        assert (await client.judge().ask(EQUIVALENCE, **PAIR)).value is False


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"nothing\.jsonl: No such file"):
        JudgeClient(JudgeConfig(recorded=str(tmp_path / "nothing.jsonl")))
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"digest": 1}\n')
    with pytest.raises(BadRequest, match=r"broken\.jsonl:1: "):
        JudgeClient(JudgeConfig(recorded=str(broken)))


async def test_no_key_is_written(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    file = tmp_path / "judge.jsonl"
    made = await bench("[[A!=B]]", recorded=str(file), record=True, api_key_env="JUDGE_KEY")
    await made.client.judge().ask(EQUIVALENCE, **PAIR)
    assert "sk-secret" not in file.read_text()
