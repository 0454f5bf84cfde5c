"""The environment as a service: modes, tools and verdicts with a stand-in for Lean, and typed outcomes without any."""

import shutil

import pytest
from aiohttp import web

from agent_server.app import build_app as agent_app
from agent_server.config import AgentConfig
from environments.lean_proofs.environment import LeanProofs
from environments.lean_proofs.generator import TRIES
from environments.lean_proofs.toolchain import MISSING
from gym_core import headers
from gym_core.client import Client
from gym_core.errors import Unavailable
from gym_core.registry import Registry
from gym_core.reply import text_output
from gym_core.serve import start
from gym_core.server import EnvironmentServiceConfig, build_app

caged = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
NAME = "lean_proofs"
STATEMENT = "theorem t (n : Nat) : n = n"


def row(*tools, **more):
    params = {"input": "Prove it.", "tools": [{"type": "function", "name": name} for name in tools]}
    return {"responses_create_params": params, "header": "", "formal_statement": f"{STATEMENT} := by\n", **more}


@pytest.fixture
def lean(fake_toolchain, monkeypatch):
    monkeypatch.setenv("PALAESTRA_LEAN", str(fake_toolchain.lean))
    monkeypatch.setenv("PALAESTRA_LEAN_MEMORY_MB", "1024")


@pytest.fixture
async def client():
    app = build_app([Registry.discover().load(NAME)], EnvironmentServiceConfig(workers=1))
    async with await start(app) as service, Client(service.url, timeout_s=60, retries=0) as made:
        yield made


async def seeded(client, given):
    return (await client.post_json("/seed_session", given))["session_id"]


async def call(client, session, name, **arguments):
    reply = await client.post(f"/{name}", arguments, headers={headers.SESSION: session}, check=False)
    return reply.headers[headers.TOOL], reply.text


async def verdict(client, given, text, calls=(), grading="strict"):
    session = await seeded(client, given)
    for name, arguments in calls:
        await call(client, session, name, **arguments)
    body = {"session_id": session, "response": {"output": text_output(text)}, "palaestra": {"grading": grading}}
    return (await client.post_json("/verify", body))["verdict"]


def block(proof, statement=STATEMENT):
    return f"```lean4\n{statement} := by\n  {proof}\n```"


# Without a toolchain ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_toolchain")
async def test_without_lean_the_service_is_up_and_says_what_is_missing(client):
    health = await client.get_json("/healthz")
    assert health["status"] == "ok" and health["unavailable"] == {NAME: MISSING}
    assert (await client.get_json("/manifest"))["unavailable"] == MISSING
    rows = (await client.post_json("/tasks", {"seed": 1, "level": 2, "count": 3}))["tasks"]
    assert len(rows) == 3
    taken = await client.post_json("/ingest", {"rows": [row(), row(formal_statement="example : True")]})
    assert taken["tasks"][0] is not None and taken["refused"][0]["error"]["field"] == "formal_statement"


@pytest.mark.usefixtures("no_toolchain")
async def test_without_lean_there_is_a_typed_error_and_never_a_reward(client):
    with pytest.raises(Unavailable, match="no Lean toolchain") as caught:
        await client.post_json("/seed_session", row())
    assert "scripts/lean.py" in caught.value.hint
    assert caught.value.stage == "seed_session"
    body = {**row(), "response": {"output": text_output(block("rfl"))}}
    with pytest.raises(Unavailable):
        await client.post_json("/verify", body)


@pytest.mark.usefixtures("no_toolchain")
async def test_without_lean_a_rollout_ends_as_env_error_before_the_policy_is_asked(tmp_path):
    asked = []

    async def responses(request: web.Request) -> web.Response:
        asked.append(await request.read())
        return web.json_response({"error": {"code": "policy_fault", "message": "nobody should ask"}}, status=500)

    policy = web.Application()
    policy.router.add_post("/v1/responses", responses)
    app = build_app([Registry.discover().load(NAME)], EnvironmentServiceConfig(workers=1))
    async with await start(app) as lean, await start(policy) as model:
        settings = AgentConfig(
            environments={NAME: lean.url}, policy_url=model.url, store=str(tmp_path / "store.db"), environment_s=30.0
        )
        async with await start(agent_app(settings)) as agent, Client(agent.url, timeout_s=60) as client:
            told = await client.post_json("/run", {**row(), "environment": NAME})
    assert (told["outcome"], told["error"]["code"], told["reward"]) == ("env_error", "unavailable", None)
    assert told["mask_sample"] is True and told["error"]["stage"] == "seed_session"
    assert "scripts/lean.py" in told["error"]["hint"]
    assert asked == []


@pytest.mark.usefixtures("no_toolchain")
def test_lean_that_arrives_later_is_found(fake_toolchain, monkeypatch):
    environment = LeanProofs()
    assert environment.unavailable() == MISSING
    with pytest.raises(Unavailable):
        environment.prover()
    monkeypatch.setenv("PALAESTRA_LEAN", str(fake_toolchain.lean))
    assert environment.unavailable() == ""


# With a stand-in -------------------------------------------------------------------------------------------------


@caged
@pytest.mark.usefixtures("lean")
async def test_a_service_that_has_lean_says_nothing_is_missing(client):
    assert "unavailable" not in await client.get_json("/healthz")
    assert (await client.get_json("/manifest"))["unavailable"] == ""


@caged
@pytest.mark.usefixtures("lean")
async def test_whole_proofs_are_judged_under_both_gradings(client):
    good = await verdict(client, row(), block("rfl"))
    assert good["reward"] == 1.0 and good["gradings"] == {"strict": 1.0, "published": 1.0}
    assert good["components"] == {"allowed": 1.0, "compiles": 1.0, "same_statement": 1.0, "axioms": 1.0}
    assert good["details"]["axioms"] == ["propext"]
    cheat = await verdict(client, row(), block("assume"))
    assert cheat["reward"] == 0.0 and cheat["gradings"] == {"strict": 0.0, "published": 1.0}
    assert "Cheat.axiom" in cheat["details"]["reason"] and cheat["components"]["compiles"] == 1.0
    assert (await verdict(client, row(), block("assume"), grading="published"))["reward"] == 1.0
    wrong = await verdict(client, row(), block("bad"))
    assert wrong["reward"] == 0.0 and wrong["components"]["allowed"] == 1.0
    refused = await verdict(client, row(), block("native_decide"))
    assert refused["reward"] == 0.0 and refused["components"]["allowed"] == 0.0
    assert (await verdict(client, row(), ""))["details"]["reason"] == "silence"
    assert (await verdict(client, row(), f"<think>{block('rfl')}</think>"))["reward"] == 0.0


@caged
@pytest.mark.usefixtures("lean")
async def test_tries_are_told_their_errors_and_counted(client):
    session = await seeded(client, row("check"))
    kind, text = await call(client, session, "check", proof=block("bad"))
    assert kind == "ok" and "line 2, column 0: unsolved: bad" in text and f"{TRIES - 1} tries left" in text
    kind, text = await call(client, session, "check", proof="by sorry")
    assert kind == "fault" and "sorry" in text
    kind, text = await call(client, session, "check", proof="by rfl")
    assert kind == "ok" and text.startswith("no errors")
    await call(client, session, "check", proof="by rfl")
    kind, text = await call(client, session, "check", proof="by rfl")
    assert kind == "fault" and "used up" in text


@caged
@pytest.mark.usefixtures("lean")
async def test_steps_show_goals_branch_and_are_judged_as_one_proof(client):
    given = row("apply_tactic")
    session = await seeded(client, given)
    kind, text = await call(client, session, "apply_tactic", state=0, tactic="leftover")
    assert kind == "ok" and text.startswith("state 1:\n") and "⊢ n = n" in text and "case right" in text
    for state, tactic, said in (
        (9, "rfl", "there is no state 9"),
        (-1, "rfl", "there is no state -1"),
        (0, "bad", "unsolved: bad"),
        (0, "exact sorry", "pretends a proof"),
        (0, " \n", "1 to"),
        (0, "#print axioms t", "no proof"),
        (1, "theorem more : True := trivial", "something else"),
    ):
        kind, text = await call(client, session, "apply_tactic", state=state, tactic=tactic)
        assert kind == "fault" and said in text, (tactic, text)
    kind, text = await call(client, session, "apply_tactic", state=0, tactic="rfl")
    assert (kind, text) == ("ok", "state 2: no goals left")
    body = {"session_id": session, "response": {"output": text_output("Done.")}}
    assert (await client.post_json("/verify", body))["verdict"]["reward"] == 1.0
    assert (await verdict(client, given, "Done."))["reward"] == 0.0
    assert (await verdict(client, given, block("rfl")))["reward"] == 1.0
    unfinished = [("apply_tactic", {"state": 0, "tactic": "leftover"})]
    assert (await verdict(client, given, "Done.", unfinished))["reward"] == 0.0
    axiom = [("apply_tactic", {"state": 0, "tactic": "assume"})]
    found = await verdict(client, given, "Done.", axiom)
    assert found["reward"] == 0.0 and "Cheat.axiom" in found["details"]["reason"]


@caged
@pytest.mark.usefixtures("lean")
async def test_a_header_beyond_this_lean_is_no_reward(client):
    with pytest.raises(Unavailable, match="Mathlib") as caught:
        await verdict(client, row(header="import Mathlib\n\n"), block("rfl"))
    assert "PALAESTRA_LEAN_PROJECT" in caught.value.hint
