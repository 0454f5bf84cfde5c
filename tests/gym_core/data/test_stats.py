"""Counting rows, and the prompts that two files share."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gym_core.data.prompts import SKETCH, normalised, prompt_text, sketch
from gym_core.data.stats import look, quantiles, shared

WORDS = [f"word{number}" for number in range(60)]


def row(text: Any, **more: Any) -> dict[str, Any]:
    return {"responses_create_params": {"input": text}, **more}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def test_environments_levels_lengths_and_duplicates_are_counted(tmp_path: Path) -> None:
    ref = {"seed": 0, "level": 2, "index": 0, "split": "heldout"}
    path = write(
        tmp_path / "a.jsonl",
        row("What is 1+1?", environment="math", task_ref=ref),
        row("what  IS 1+1?", environment="math"),
        row([{"role": "user", "content": "Say 7"}], agent_ref={"name": "mcqa"}),
        {"dataset": "d", "_hf_placeholder": {"row": 1}},
        row(""),
        [1],
    )
    report = look(path, name_of=lambda name: {"mcqa": "stem_qa"}.get(name, name)).report()
    assert report["rows"] == 6
    assert report["environments"]["math"] == {"rows": 2, "levels": {"2": 1}}
    assert report["environments"]["stem_qa"]["rows"] == 1
    assert report["splits"] == {"heldout": 1}
    assert (report["distinct_prompts"], report["duplicates"], report["placeholders"]) == (2, 1, 1)
    assert report["bad_lines"] == [5, 6]
    assert report["prompt_characters"] == {"min": 5, "p50": 12, "p90": 13, "p99": 13, "max": 13}


def test_shared_prompts_are_found_exactly_and_nearly(tmp_path: Path) -> None:
    long = " ".join(WORDS)
    first = look(write(tmp_path / "a.jsonl", row(long), row("Short one"), row("Only here")), near=True)
    second = look(
        write(
            tmp_path / "b.jsonl",
            row("short ONE"),
            row(f"{long} and one more clause at the end"),
            row(" ".join(reversed(WORDS))),
        ),
        near=True,
    )
    assert shared(first, second) | {"file": "", "in": ""} == {"file": "", "in": "", "prompts": 3, "same": 1, "near": 1}


def test_text_parts_and_items_without_text_are_read() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_image"}, {"type": "input_text", "text": "b"}]
    assert prompt_text(row([{"role": "user", "content": parts}, {"type": "function_call"}, "?"])) == "ab"
    assert prompt_text({}) == prompt_text({"responses_create_params": 3}) == ""


def test_form_and_case_make_no_other_prompt() -> None:
    assert normalised("ﬁne\u00a0 Ｘ") == normalised("FINE x")


def test_quantiles_are_by_nearest_rank() -> None:
    assert quantiles(array("L", [5, 1, 3])) == {"min": 1, "p50": 3, "p90": 5, "p99": 5, "max": 5}
    assert quantiles(array("L")) == {}


@given(st.lists(st.sampled_from(WORDS), max_size=80))
def test_a_sketch_is_small_and_follows_from_the_text(words: list[str]) -> None:
    text = " ".join(words)
    assert sketch(text) == sketch(text)
    assert len(sketch(text)) <= SKETCH
    assert bool(sketch(text)) == bool(words)
