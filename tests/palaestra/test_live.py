"""The live view draws every part of a run; the plain one says phases and tenths."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from palaestra.live import LiveView, PlainView, view_for
from palaestra.meter import Meter

STEP = {
    "reward": 0.5,
    "reward/math": 0.75,
    "reward/ledger": 0.25,
    "token_mult_prob_error": 1.0000001,
    "sampled_tokens": 2000.0,
    "total_step_time": 0.5,
}


def test_a_terminal_shows_rewards_against_where_they_started() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    view = view_for(Meter(), "a run", console)
    assert isinstance(view, LiveView)
    with view:
        view.phase("warm start", 10)
        view.advance(10, {"sft/loss": 1.25})
        view.before({"math": 0.5, "ledger": 0.5})
        view.phase("GRPO", 20)
        view.advance(3, STEP)
    text = out.getvalue()
    for part in ("a run", "warm start", "10/10", "GRPO", "3/20", "math", "0.75", "4000 sampled tokens/s", "1.0000001"):
        assert part in text, part


def test_a_pipe_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    view = view_for(Meter(), "a run", Console(file=io.StringIO()))
    assert isinstance(view, PlainView)
    with view:
        view.phase("GRPO", 20)
        for step in range(1, 21):
            view.advance(step, STEP)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 + 10
    assert "GRPO 20/20 reward=0.5" in lines[-1] and "reward/math=0.75" in lines[-1]
