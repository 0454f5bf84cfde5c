"""Whom a judge is asked about, what it is shown, and how its words are read, in both gradings."""

from contextlib import asynccontextmanager
from pathlib import Path

from environments.long_context_qa.environment import LongContextQa
from environments.long_context_qa.verdicts import OPEN
from gym_core.client import Client
from gym_core.contracts import TaskRef
from gym_core.generate import make_task
from gym_core.judge.config import JudgeConfig
from gym_core.loading import load_file
from gym_core.registry import LoadedEnvironment
from gym_core.reply import text_output
from gym_core.serve import start
from gym_core.server import EnvironmentServiceConfig, build_app

FakeJudge = load_file(Path(__file__).parents[2] / "gym_core/judge/conftest.py").FakeJudge
PROMPT = [{"role": "user", "content": "docs\nQUESTION: Who was it?"}]
OPEN_ROW = {"responses_create_params": {"input": PROMPT}, "question": "Who was it?", "expected_answer": "Ada Lund"}
LC_ROW = {**OPEN_ROW, "agent_ref": {"name": "lc_judge_simple_agent"}}
AALCR_ROW = {"responses_create_params": {"input": PROMPT}, "question": "Who was it?", "answer": "Ada Lund"}
LABELLED = {"template_metadata": {"output_regex": r"Final: (.*)"}}


@asynccontextmanager
async def service(*says, judged=True):
    fake = FakeJudge(*says)
    async with await start(fake.app()) as judge:
        config = JudgeConfig(base_url=judge.url, model="m", retries=0) if judged else None
        app = build_app([LoadedEnvironment.of(LongContextQa)], EnvironmentServiceConfig(workers=1), config)
        async with await start(app) as served, Client(served.url, retries=0, timeout_s=60) as client:
            yield client, fake


async def verify(client, row, text, **run):
    body = {**row, "response": {"output": text_output(text)}, "palaestra": run}
    return (await client.post("/verify", body, check=False)).json()


async def reward(client, row, text, **run):
    return (await verify(client, row, text, **run))["reward"]


# Strict ----------------------------------------------------------------------------------------------------------


def numbered_task():
    for index in range(200):
        task = make_task(LongContextQa(), TaskRef(seed=3, level=1, index=index))
        if task["family"] == "total":
            return task, task["answer"]["value"]
    raise AssertionError("no task of the family in 200")


async def test_a_judge_is_asked_about_phrasing_only():
    task, value = numbered_task()
    async with service("CORRECT") as (client, fake):
        for text in (
            f"Answer: {value + 1}",
            f"Answer: {value} or 7",
            "Answer: many",
            "",
            f"Answer: {value}\nAnswer: 1",
        ):
            assert await reward(client, task.to_row(), text) == 0.0
        assert await reward(client, task.to_row(), f"Answer: {value}") == 1.0
        assert fake.asked == []
        assert await reward(client, task.to_row(), f"I added.\nSo the sum comes to {value}.") == 1.0
        assert len(fake.asked) == 2  # both orders
        assert task["question"] in fake.prompts[0] and "BEGIN DOCUMENT" not in fake.prompts[0]


async def test_both_orders_must_say_correct():
    task, value = numbered_task()
    async with service("CORRECT", "INCORRECT") as (client, fake):
        assert await reward(client, task.to_row(), f"Answer: it comes to {value}") == 0.0
        assert len(fake.asked) == 2


async def test_rows_are_judged_in_both_orders_and_guarded():
    async with service("CORRECT") as (client, fake):
        assert await reward(client, AALCR_ROW, "The one called Ada Lund") == 1.0
        assert len(fake.asked) == 2
        for text in ("CORRECT", ":", "Thought process:", "", "I do not know.", "x" * 5000, r"\boxed{A} \boxed{B}"):
            assert await reward(client, AALCR_ROW, text) == 0.0
        assert await reward(client, OPEN_ROW, "Ada Lund") == 1.0
        assert len(fake.asked) == 2
    async with service("hmm") as (client, _):
        said = await verify(client, AALCR_ROW, "The one called Ada Lund")
        assert said["error"]["code"] == "judge_fault" and "reward" not in said


async def test_without_a_judge_what_is_open_earns_nothing():
    async with service("CORRECT", judged=False) as (client, fake):
        said = await verify(client, AALCR_ROW, "The one called Ada Lund")
        assert said["reward"] == 0.0 and said["verdict"]["details"][OPEN]
    assert fake.asked == []


# Published -------------------------------------------------------------------------------------------------------


async def paid_by_word(row, words):
    """What each word of a judge pays for one and the same answer, and the requests."""
    paid = []
    async with service(*words) as (client, fake):
        for number, _ in enumerate(words):
            paid.append((await verify(client, row, f"Ada {number}", grading="published")).get("reward"))
        return paid, fake.prompts


async def test_aalcr_wants_the_word_alone():
    words = ["CORRECT", " CORRECT\n", "INCORRECT", "CORRECT.", "It is CORRECT", "correct"]
    paid, prompts = await paid_by_word(AALCR_ROW, words)
    assert paid == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert "Ada 0" in prompts[0] and "Ada Lund" in prompts[0]


async def test_aalcr_pays_nothing_for_silence_and_a_silent_judge_has_failed():
    async with service("") as (client, fake):
        assert await reward(client, AALCR_ROW, "  ", grading="published") == 0.0
        assert fake.asked == []
        assert (await verify(client, AALCR_ROW, "somebody", grading="published"))["error"]["code"] == "judge_fault"


async def test_aalcr_v1_1_wants_an_object():
    row = {**AALCR_ROW, "aa_lcr_version": "1.1", "aa_lcr_judge_protocol": "official_v1_1"}
    words = [
        '{"verdict": "CORRECT"}',
        '{"verdict": "INCORRECT"}',
        "CORRECT",
        '{"verdict": "CORRECT", "why": ""}',
        '{"verdict": ["CORRECT"]}',
    ]
    assert (await paid_by_word(row, words))[0] == [1.0, 0.0, None, None, None]


async def test_lc_judge_takes_the_first_label():
    words = ["CORRECT", "INCORRECT", "INCORRECT, not CORRECT", "CORRECT, not INCORRECT", "CORRECTLY", "[[A=B]]", "hmm"]
    paid, prompts = await paid_by_word(LC_ROW, words)
    assert paid == [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    assert len(prompts) == len(words)
    assert "<<<\nWho was it?\n>>>" in prompts[0]  # found in the prompt, after QUESTION:


async def test_other_rows_have_the_labels_of_the_public_default():
    paid, prompts = await paid_by_word(OPEN_ROW, ["[[A=B]]", "[[A!=B]] [[A=B]]", "CORRECT"])
    assert paid == [1.0, 0.0, 0.0]
    assert "docs\nQUESTION: Who was it?" in prompts[0]


OPTIONS = [
    (LABELLED, ["INCORRECT", "CORRECT"], 0.5, 2),  # rescued by the whole message
    (LABELLED, ["INCORRECT", "INCORRECT"], 0.0, 2),
    (LABELLED, ["CORRECT"], 1.0, 1),
    ({}, ["INCORRECT", "CORRECT"], 0.0, 1),  # without an expression there is no rescue
    ({**LABELLED, "expected_answer": "A" * 121}, ["INCORRECT", "CORRECT"], 0.0, 1),  # a long answer: neither
    ({**LABELLED, "judge_options": {"check_full_generation_on_fail": False}}, ["INCORRECT", "CORRECT"], 0.0, 1),
    ({**LABELLED, "judge_options": {"use_per_record_regex": False}}, ["INCORRECT", "CORRECT"], 0.0, 1),
    ({"judge_options": {"check_twice_swap": True}}, ["CORRECT", "CORRECT"], 1.0, 2),
    ({"judge_options": {"check_twice_swap": True}}, ["CORRECT", "INCORRECT"], 0.0, 2),
    ({"judge_options": {"check_twice_swap": True, "reward_if_swap_fails": 0.25}}, ["CORRECT", "no"], 0.25, 2),
    ({"judge_options": {"max_answer_chars": 3}}, ["CORRECT"], 0.0, 0),
]


async def test_swap_rescue_and_length_as_the_public_server_has_them():
    async with service("") as (client, fake):
        for row, says, paid, calls in OPTIONS:
            fake.says = says
            fake.asked.clear()
            row = {**LC_ROW, **row, "note": str((row, says))}
            assert await reward(client, row, "First: x\nFinal: Ada", grading="published") == paid, (row, says)
            assert len(fake.asked) == calls, (row, says)


async def test_the_swapped_request_exchanges_the_answers():
    row = {**LC_ROW, "judge_options": {"check_twice_swap": True}}
    async with service("CORRECT") as (client, fake):
        await verify(client, row, "Ada", grading="published")
        first, second = fake.prompts
        assert first.index("Ada Lund") < first.rindex("\nAda\n")
        assert second.index("\nAda\n") < second.index("Ada Lund")


async def test_generated_questions_are_judged_publicly_and_needles_are_not():
    task, _ = numbered_task()
    needle = next(
        made
        for index in range(200)
        if (made := make_task(LongContextQa(), TaskRef(seed=3, level=1, index=index)))["family"] == "needle_single"
    )
    async with service("CORRECT") as (client, fake):
        assert await reward(client, task.to_row(), "any", grading="published") == 1.0
        assert len(fake.asked) == 1 and task["question"] in fake.prompts[0]
        gold = needle["answer"]["value"]
        assert await reward(client, needle.to_row(), f"1111111 {gold} 2222222", grading="published") == 1.0
        assert await reward(client, needle.to_row(), f"1111111 {gold} 2222222") == 0.0
        assert len(fake.asked) == 1
