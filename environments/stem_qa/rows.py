"""Published multiple-choice rows: null options dropped, what no reply could answer refused."""

from __future__ import annotations

from typing import Any

from environments.stem_qa.bounded import MAX_PATTERN
from environments.stem_qa.options import Options, read_options
from environments.stem_qa.published import MODES, Question
from gym_core.contracts import Task
from gym_core.errors import BadRow

MAX_EXPRESSIONS = 32


def ingest(task: Task) -> Task:
    """Check the row; it stays as it came. Raises `BadRow` naming the field."""
    question(task)
    return task


def question(task: Task) -> Question:
    """What the row asks. Raises `BadRow` naming the field."""
    expressions = _expressions(task.get("template_metadata"))
    options = _options(task.get("options"), required=not expressions)
    expected = task.get("expected_answer")
    if not isinstance(expected, str) or not expected.strip():
        raise BadRow("`expected_answer` must be the letter of an option", field="expected_answer")
    expected = expected.strip().upper()
    letters = [letter for letter, _ in options]
    if expected not in (letters or list("ABCDEFGHIJ")):
        raise BadRow(
            f"`expected_answer` is {expected!r}, the options are {', '.join(letters) or 'A to J'}",
            field="expected_answer",
            hint="a row whose answer is not offered can never be graded",
        )
    return Question(options, expected, _mode(task.get("grading_mode")), expressions)


def _options(given: Any, *, required: bool) -> Options:
    if given is None and not required:
        return []
    if not isinstance(given, list):
        raise BadRow('`options` must be a list such as [{"A": "first"}, {"B": "second"}]', field="options")
    for number, entry in enumerate(given):
        if entry is None:
            continue
        if not isinstance(entry, dict):
            raise BadRow("an option must be an object of a letter and its text", field=f"options[{number}]")
        for key, text in entry.items():
            if text is not None and not isinstance(text, str):
                raise BadRow(f"option {key} must be text, not {type(text).__name__}", field=f"options[{number}].{key}")
    options = read_options([entry for entry in given if entry is not None])
    letters = [letter for letter, _ in options]
    if len(set(letters)) != len(letters):
        raise BadRow("a letter stands for two options", field="options")
    if len(options) < 2 and required:
        raise BadRow("a question needs at least two options that are not null", field="options")
    return options


def _mode(given: Any) -> str:
    if given is None:
        return MODES[0]
    if given not in MODES:
        raise BadRow(f"`grading_mode` is one of {', '.join(MODES)}, not {given!r}", field="grading_mode")
    return str(given)


def _expressions(metadata: Any) -> tuple[str, ...]:
    """The row's own expressions; one that cannot be compiled never matches, as in the public verifier."""
    if metadata is None:
        return ()
    if not isinstance(metadata, dict):
        raise BadRow("`template_metadata` must be an object", field="template_metadata")
    given = metadata.get("output_regex")
    listed = [given] if isinstance(given, str) else given
    if listed is None:
        return ()
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise BadRow("`output_regex` must be an expression or a list of them", field="template_metadata.output_regex")
    if len(listed) > MAX_EXPRESSIONS:
        raise BadRow(f"at most {MAX_EXPRESSIONS} expressions", field="template_metadata.output_regex")
    if any(len(each) > MAX_PATTERN for each in listed):
        raise BadRow(f"an expression has at most {MAX_PATTERN} characters", field="template_metadata.output_regex")
    return tuple(listed)
