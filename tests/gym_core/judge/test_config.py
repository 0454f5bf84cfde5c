"""The section [judge]: loaded like every other, refused by name where it cannot work."""

from __future__ import annotations

from pathlib import Path

import pytest

from gym_core.config import load, show
from gym_core.errors import BadRequest
from gym_core.judge.client import JudgeClient
from gym_core.judge.config import JudgeConfig


def test_nothing_configured_is_no_judge() -> None:
    config = load(JudgeConfig, section="judge", environ={})
    assert not config.configured and not config.replays


def test_a_file_and_the_environment_make_a_judge(tmp_path: Path) -> None:
    file = tmp_path / "palaestra.toml"
    file.write_text('[judge]\nbase_url = "http://localhost:1/v1"\nmodel = "big"\nextra = {seed = 7}\n')
    config = load(JudgeConfig, file=file, section="judge", environ={"PALAESTRA_JUDGE_RETRIES": "5"})
    assert (config.model, config.retries, config.extra, config.configured) == ("big", 5, {"seed": 7}, True)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"base_url": "http://x"}, "model"),
        ({"base_url": "localhost:8000", "model": "m"}, "base_url"),
        ({"record": True, "base_url": "http://x", "model": "m"}, "record"),
        ({"record": True, "recorded": "f"}, "record"),
        ({"concurrency": 0}, "concurrency"),
        ({"timeout_s": -1}, "timeout_s"),
        ({"retries": -1}, "retries"),
        ({"input_price": -0.1}, "input_price"),
        ({"api_key": "sk-1"}, "api_key"),
    ],
)
def test_what_cannot_work_is_refused_by_name(given: dict[str, object], named: str) -> None:
    with pytest.raises(BadRequest) as refused:
        load(JudgeConfig, section="judge", overrides=given, environ={})
    assert named in str(refused.value)


def test_the_key_is_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    config = JudgeConfig(base_url="http://x", model="m", api_key_env="MY_JUDGE_KEY")
    monkeypatch.setenv("MY_JUDGE_KEY", " sk-secret ")
    assert config.api_key() == "sk-secret"
    assert "sk-secret" not in show(config) and "MY_JUDGE_KEY" in show(config)
    monkeypatch.delenv("MY_JUDGE_KEY")
    with pytest.raises(BadRequest, match="MY_JUDGE_KEY, which is not set"):
        JudgeClient(config)
