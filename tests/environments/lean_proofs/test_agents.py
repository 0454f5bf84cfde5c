"""Agents that prove nothing are turned away before Lean is asked: here there is none that could be."""

import asyncio

import pytest

from environments.lean_proofs.environment import LeanProofs
from gym_core.environment import Session
from gym_core.generate import make_tasks
from gym_core.reply import read_reply, text_output

ENVIRONMENT = LeanProofs()
COUNT = 20


def block(task, proof, header=""):
    return f"```lean4\n{header}{task['formal_statement']} := by\n  {proof}\n```"


AGENTS = {
    "idle": lambda task: "",
    "says it is done": lambda task: "The theorem is proved.",
    "sorry": lambda task: block(task, "sorry"),
    "native_decide": lambda task: block(task, "native_decide"),
    "an axiom": lambda task: block(task, "exact cheat", "axiom cheat : False\n"),
    "only thinks": lambda task: f"<think>{block(task, 'rfl')}</think>",
}


@pytest.fixture(autouse=True)
def no_lean(monkeypatch):
    def asked(self):
        raise AssertionError("Lean was asked about an answer that is none")

    monkeypatch.setattr(LeanProofs, "prover", asked)


def reward(task, text):
    verdict = ENVIRONMENT.verify(task, Session("s", task), read_reply(text_output(text)))
    return asyncio.run(verdict).reward


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
@pytest.mark.parametrize("agent", AGENTS)
def test_agents_without_a_proof_earn_nothing_and_cost_no_lean(agent, level):
    tasks = make_tasks(ENVIRONMENT, seed=77, level=level, count=COUNT)
    assert [reward(task, AGENTS[agent](task)) for task in tasks] == [0.0] * COUNT


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
def test_the_proof_of_another_theorem_proves_nothing(level):
    tasks = make_tasks(ENVIRONMENT, seed=77, level=level, count=COUNT)
    whole = [task for task in tasks if "```" in ENVIRONMENT.oracle(task).reply]
    pairs = [(one, other) for one in tasks for other in whole if one["formal_statement"] != other["formal_statement"]]
    assert len(pairs) > COUNT
    assert {reward(task, ENVIRONMENT.oracle(other).reply) for task, other in pairs} == {0.0}
