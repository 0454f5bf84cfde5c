"""Raw rows of DAPO and Skywork, and the placeholders that stand for them."""

import pytest

from environments.maths.blends import first_of, reshape, resolve
from environments.maths.environment import Math
from gym_core.contracts import Task
from gym_core.environment import Session
from gym_core.errors import BadRow
from gym_core.host import Host
from gym_core.reply import read_reply, text_output

DAPO = {
    "data_source": "math_dapo",
    "prompt": [
        {
            "role": "user",
            "content": "Solve the problem. The last line of your response should be of the form Answer: $Answer.\n\n"
            "Let $x=\\{1\\}$.\n\nWhat is 2 + 3?\n\nRemember to put your answer on its own line.",
        }
    ],
    "reward_model": {"ground_truth": "5", "style": "rule"},
    "extra_info": None,
}
SKYWORK = {
    "prompt": [{"role": "user", "content": "What is half of 5? Put the answer within \\boxed{}."}],
    "reward_model": {"ground_truth": '["\\\\frac{5}{2}", "2.5"]'},
}
PLACE = {
    "dataset": "nano_v3_sft_profiled_dapo17k",
    "pass_rate": 0.5,
    "uuid": None,
    "agent_ref": {"name": "math_with_judge"},
}


def grade(row, text):
    environment = Math()
    task = environment.ingest(Task.from_row(row, "math"))
    return environment.verify(task, Session("s", task), read_reply(text_output(text))).reward


async def test_raw_rows_are_taken_at_the_door():
    host = Host(Math())
    dapo = await host.resolve(DAPO)
    (asked,) = dapo.messages
    assert asked["content"] == "Let $x=\\{1\\}$.\n\nWhat is 2 + 3?\n\nPut only the final answer in \\boxed{}."
    assert dapo["question"] == "Let $x=\\{1\\}$.\n\nWhat is 2 + 3?"
    assert dapo.to_row()["data_source"] == "math_dapo"
    assert grade(reshape(DAPO), r"\boxed{5}") == 1.0
    skywork = await host.resolve(SKYWORK)
    assert skywork.messages == SKYWORK["prompt"]
    assert grade(reshape(SKYWORK), r"\boxed{\frac52}") == 1.0


async def test_a_placeholder_is_refused_with_the_place_of_its_question():
    row = {**PLACE, "_hf_placeholder": {"row": 7, "question_template": "{question}"}}
    for given in (row, {**row, "responses_create_params": {"input": "?"}}):
        with pytest.raises(BadRow) as refused:
            await Host(Math()).resolve(given)
        assert refused.value.field == "_hf_placeholder"
        assert "row 7 of BytedTsinghua-SIA/DAPO-Math-17k, split train" in refused.value.message
        assert "environments.maths.blends.resolve" in refused.value.hint


@pytest.mark.parametrize(
    ("template", "asked"),
    [
        (
            {"prefix": "Solve {question}:\n", "suffix": "\nBox it."},
            "Solve {question}:\nLet $x=\\{1\\}$.\n\nWhat is 2 + 3?\nBox it.",
        ),
        ("Q: {question} {x} (box it)", "Q: Let $x=\\{1\\}$.\n\nWhat is 2 + 3? {x} (box it)"),
        (None, "Let $x=\\{1\\}$.\n\nWhat is 2 + 3?"),
    ],
)
async def test_a_placeholder_and_its_row_make_a_task(template, asked):
    row = resolve({**PLACE, "_hf_placeholder": {"row": 7, "question_template": template}}, DAPO)
    assert row["responses_create_params"] == {"input": [{"role": "user", "content": asked}]}
    assert (row["pass_rate"], row["agent_ref"], row["expected_answer"]) == (0.5, {"name": "math_with_judge"}, "5")
    assert "_hf_placeholder" not in row and "uuid" not in row
    assert (await Host(Math()).resolve(row)).to_row().items() >= row.items()
    assert grade(row, r"\boxed{5}") == 1.0


@pytest.mark.parametrize(
    ("placeholder", "raw", "field"),
    [
        ({}, DAPO, "_hf_placeholder"),
        ({"_hf_placeholder": {"question_template": 5}}, DAPO, "_hf_placeholder.question_template"),
        ({"_hf_placeholder": {}}, {}, "prompt"),
        ({"_hf_placeholder": {}}, {"prompt": [{"content": " "}]}, "prompt[0].content"),
        ({"_hf_placeholder": {}}, {"prompt": ["x"]}, "prompt[0].content"),
        ({"_hf_placeholder": {}}, {**DAPO, "reward_model": None}, "reward_model.ground_truth"),
    ],
)
def test_what_does_not_fit_is_named(placeholder, raw, field):
    with pytest.raises(BadRow) as refused:
        resolve(placeholder, raw)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        ('["5"]', "5"),
        ('["a", "b"]', "a"),
        ('{"x": "7"}', "7"),
        ("[5]", 5),
        ("[]", "[]"),
        ("[1, 2)", "[1, 2)"),
        ("{5", "{5"),
        ("[" * 100_000, "[" * 100_000),
        ("5", "5"),
        (5, 5),
    ],
)
def test_the_first_of_a_list_in_text(answer, first):
    assert first_of(answer) == first
