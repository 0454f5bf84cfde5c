"""Tokens by pages: pieces, log-probabilities, kinds, versions, and the least likely ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from played import Bytes, rollout, trace

from gym_core.errors import UnknownName
from palaestra.dashboard.heat import load_tokenizer, prompt_text, token_page
from palaestra.dashboard.viewer import _prompt_parts

LOGPROBS = [-0.25, -3.0, -0.5]


def test_a_page_by_hand() -> None:
    blob, traces = trace("ask", "öx", LOGPROBS)
    found = token_page(rollout(0, traces=traces), blob, 0, 2, 3, Bytes())
    assert (found.start, found.total, found.sampled) == (2, 6, 3)
    assert found.pieces == ["k", "\\xc3", "\\xb6"]  # half a letter is written out
    assert found.logprobs == [None, -0.25, -3.0]
    assert found.kinds == ["prompt", "answer", "answer"]
    assert found.versions == [None, 7, 7]
    assert found.first == 3
    assert found.mean_logprob == pytest.approx(-1.25)
    assert [(one["at"], one["piece"], one["logprob"]) for one in found.rarest] == [
        (4, "\\xb6", -3.0),
        (5, "x", -0.5),
        (3, "\\xc3", -0.25),
    ]


def test_without_a_tokenizer_there_are_ids() -> None:
    blob, traces = trace("ab", "c", [-1.0])
    found = token_page(rollout(0, traces=traces), blob, 0, 0, 100, None)
    assert (found.pieces, found.ids) == (None, [97, 98, 99])


@pytest.mark.parametrize(("start", "count", "expected"), [(-5, 2, (0, 2)), (99, 5, (6, 0)), (4, -1, (4, 1))])
def test_places_outside_of_the_trace_are_moved_inside(start: int, count: int, expected: tuple[int, int]) -> None:
    blob, traces = trace("ask", "öx", LOGPROBS)
    found = token_page(rollout(0, traces=traces), blob, 0, start, count, None)
    assert (found.start, len(found.ids)) == expected


def test_a_trace_that_is_not_there() -> None:
    with pytest.raises(UnknownName, match="has 0 traces"):
        token_page(rollout(0), b"", 0, 0, 10, None)


def test_broken_bytes_are_a_value_error() -> None:
    blob, traces = trace("a", "b", [-1.0])
    with pytest.raises(ValueError):
        token_page(rollout(0, traces=traces), blob[:-4], 0, 0, 10, None)


def test_the_prompt_is_read_back_and_cut_into_turns() -> None:
    text = "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    blob, traces = trace(text, "yes", [-1.0, -1.0, -1.0])
    assert prompt_text(rollout(0, traces=traces), blob, Bytes()) == text
    assert [(part.kind, part.text, part.prompt) for part in _prompt_parts(text)] == [
        ("system", "be brief", True),
        ("user", "hi", True),
    ]
    assert [(part.kind, part.text) for part in _prompt_parts("no template")] == [("other", "no template")]
    assert prompt_text(rollout(0), b"", Bytes()) == ""


def test_an_unknown_id_is_named() -> None:
    class Small(Bytes):
        def token_bytes(self, token: int, skip_special: bool = False) -> bytes:
            raise ValueError(token)

    blob, traces = trace("a", "b", [-1.0])
    assert token_page(rollout(0, traces=traces), blob, 0, 0, 9, Small()).pieces == ["⟨97⟩", "⟨98⟩"]


def test_a_folder_without_a_tokenizer_has_none(tmp_path: Path) -> None:
    assert load_tokenizer(tmp_path) is None
    (tmp_path / "tokenizer.json").write_text("{}")
    assert load_tokenizer(tmp_path) is None
