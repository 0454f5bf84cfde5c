"""The environment's verdicts: modes, components, thinking, and the two gradings side by side."""

from __future__ import annotations

from typing import Any

from environments.instruction_following.environment import InstructionFollowing
from gym_core.contracts import Task, Verdict
from gym_core.environment import Session
from gym_core.reply import read_reply, text_output

ENVIRONMENT = InstructionFollowing()
CAT = ("keywords:existence", {"keywords": ["cat"]})
COMMA = ("punctuation:no_comma", None)


def task_of(*instructions: tuple[str, Any], mode: str | None = None, loose: bool | None = None) -> Task:
    row = {
        "responses_create_params": {"input": "Write."},
        "instruction_id_list": [name for name, _ in instructions],
        "kwargs": [given for _, given in instructions],
        "grading_mode": mode,
        "loose": loose,
    }
    return ENVIRONMENT.ingest(Task.from_row(row, ENVIRONMENT.name))


def verdict(task: Task, text: str) -> Verdict:
    return ENVIRONMENT.verify(task, Session("s", task), read_reply(text_output(text)))


def published(task: Task, output: list[dict[str, Any]]) -> Verdict:
    return ENVIRONMENT.verify_published(task, Session("s", task), read_reply(output))


def test_binary_wants_all_and_fraction_pays_the_share() -> None:
    assert verdict(task_of(CAT, COMMA), "A cat, a hat").reward == 0.0
    assert verdict(task_of(CAT, COMMA, mode="fraction"), "A cat, a hat").reward == 0.5
    assert verdict(task_of(CAT, COMMA), "A cat").reward == 1.0


def test_components_and_details_say_what_broke() -> None:
    found = verdict(task_of(CAT, COMMA), "A cat, a hat")
    assert found.components == {"keywords:existence": 1.0, "punctuation:no_comma": 0.0, "followed": 0.5}
    assert found.details["broken"] == ["punctuation:no_comma"]


def test_an_id_given_twice_is_one_component_that_needs_both() -> None:
    task = task_of(CAT, ("keywords:existence", {"keywords": ["dog"]}))
    assert verdict(task, "a cat").components["keywords:existence"] == 0.0
    assert verdict(task, "a cat and a dog").reward == 1.0


def test_thinking_is_not_graded_strictly_and_is_as_published() -> None:
    task = task_of(CAT)
    output = text_output("<think>cat</think>dog")
    assert ENVIRONMENT.verify(task, Session("s", task), read_reply(output)).reward == 0.0
    assert published(task, output).reward == 1.0


def test_published_grades_the_first_part_of_the_last_item() -> None:
    task = task_of(CAT)
    parts = [{"type": "output_text", "text": "dog"}, {"type": "output_text", "text": "cat"}]
    assert published(task, [{"type": "message", "role": "assistant", "content": parts}]).reward == 0.0
    assert published(task, [*text_output("cat"), *text_output("dog")]).reward == 0.0


def test_published_pays_idleness_where_the_public_server_does_and_strict_never() -> None:
    task = task_of(COMMA)
    assert published(task, []).reward == 1.0
    assert ENVIRONMENT.verify(task, Session("s", task), read_reply([])).reward == 0.0


def test_published_names_what_it_can_only_approximate() -> None:
    task = task_of(COMMA, ("count:count_unique", None))
    assert published(task, text_output("one two")).details["approximate"] == ["count:count_unique"]


def test_the_public_benchmark_fails_blanks_and_the_training_server_does_not() -> None:
    blank = text_output(" \n ")
    assert published(task_of(COMMA), blank).reward == 1.0
    benchmark = task_of(COMMA, ("words:repeats", {"small_n": 2}))
    assert published(benchmark, blank).reward == 0.0


def test_loose_is_told_as_published_and_pays_only_where_the_row_says_so() -> None:
    numbers = ("count:numbers", {"N": 2})
    reply = "Reference values: 100 200 300\nThe answer is 42 and 7."
    found = published(task_of(numbers), text_output(reply))
    assert found.reward == 0.0 and found.details["followed"] == [False]
    assert found.details["reward_loose"] == 1.0 and found.details["followed_loose"] == [True]
    assert verdict(task_of(numbers), reply).reward == 0.0
    loose = task_of(numbers, loose=True)
    assert verdict(loose, reply).reward == published(loose, text_output(reply)).reward == 1.0


def test_the_worker_warms_up_without_a_network() -> None:
    ENVIRONMENT.warm()


def test_no_session_has_to_be_kept() -> None:
    assert not ENVIRONMENT.keeps_sessions()


def test_repeating_the_whole_prompt_follows_nothing() -> None:
    prompt = "Include the keyword cat in a story about rain."
    row = {
        "responses_create_params": {"input": [{"role": "user", "content": prompt}]},
        "instruction_id_list": ["keywords:existence"],
        "kwargs": [{"keywords": ["cat"]}],
    }
    task = ENVIRONMENT.ingest(Task.from_row(row))
    assert verdict(task, f"Well: {prompt.upper()} Yes.").reward == 0.0
    assert verdict(task, f"Well: {prompt}").details["echo"] is True
    assert verdict(task, "A cat in the rain.").reward == 1.0


def test_repeating_the_prompt_is_fine_where_a_copy_is_asked_for() -> None:
    prompt = "Copy this request word for word please"
    row = {
        "responses_create_params": {"input": prompt},
        "instruction_id_list": ["copy:copy"],
        "kwargs": [{"prompt_to_repeat": prompt}],
    }
    assert verdict(ENVIRONMENT.ingest(Task.from_row(row)), prompt).reward == 1.0
