"""One process that fails ends all of them in seconds, each with an error that says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Play = Callable[..., list[dict[str, Any]]]


@pytest.mark.parametrize("how", ["raises", "killed"])
def test_others_notice_a_lost_rank_in_seconds(play: Play, how: str) -> None:
    ranks = play(4, "failing", how, 1, 60.0, deadline_s=50)
    for rank in (0, 2, 3):
        assert ranks[rank]["error"] == "RankLost", ranks[rank]
        assert ranks[rank]["after_s"] < 15, "noticed by the timeout, not by the loss"
    if how == "raises":
        assert (ranks[1]["error"], ranks[1]["said"]) == ("ValueError", "a bad batch")


def test_a_silent_rank_is_given_up_after_the_timeout(play: Play) -> None:
    ranks = play(2, "failing", "hangs", 1, 5.0, deadline_s=50, victims=(1,))
    assert ranks[0]["error"] == "RankLost"
    assert 4 < ranks[0]["after_s"] < 25
