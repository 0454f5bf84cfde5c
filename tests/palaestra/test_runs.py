"""`palaestra runs`, `show`, `diff`, `reverify`: what was stored is found, told, compared, graded again, not changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gym_core.contracts import Outcome, Rollout, Usage, Verdict
from gym_core.errors import BadRequest, ErrorInfo, UnknownName
from gym_core.generate import make_tasks
from gym_core.loading import load_file
from gym_core.play import play_script
from gym_core.registry import Registry
from gym_core.store import Run, Store
from palaestra.__main__ import cli
from palaestra.reverify import turns_of
from palaestra.run_diff import interval
from palaestra.stored import printable

Command = Callable[..., Result]

GUESS = """
from gym_core.environment import Environment

class Guess(Environment):
    name = "guess"
    version = "{version}"
    def make(self, rng, level):
        return {{"prompt": f"Think of {{rng.randrange(10**9)}}.", "wanted": "yes"}}
    def verify(self, task, session, reply):
        return float({rule})
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments, catch_exceptions=True)

    return run


def guess(folder: Path, version: str, rule: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "environment.py").write_text(GUESS.format(version=version, rule=rule))
    (folder / "manifest.toml").write_text(
        'name = "guess"\nversion = "'
        + version
        + '"\nmodule = "environment.py"\nclass = "Guess"\ndescription = "d"\nlicence = "x"\n'
    )
    return folder


def said(text: str) -> list[dict[str, Any]]:
    return [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]


def rollout(name: str, reward: float | None, task: str = "t0", **changes: Any) -> Rollout:
    given: dict[str, Any] = {
        "rollout_id": name,
        "run_id": "a",
        "environment": "guess",
        "environment_version": "1",
        "task_id": task,
        "outcome": Outcome.POLICY_ERROR if reward is None else Outcome.SCORED,
        "verdict": None if reward is None else Verdict(reward=reward, components={"right": reward}),
        "output": said("yes"),
        "usage": Usage(output_tokens=10, turns=1),
        "created_at": 100.0,
    }
    return Rollout(**{**given, **changes})


def fill(path: Path, rollouts: list[tuple[Rollout, dict[str, Any] | None]], *runs: Run) -> Path:
    async def put() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        async with await Store.open(path) as store:
            for run in runs:
                await store.create_run(run)
            for one, row in rollouts:
                await store.put_rollout(one, b"", row)

    asyncio.run(put())
    return path


def row_of(text: str = "hello") -> dict[str, Any]:
    return {"responses_create_params": {"input": text}, "task_id": "t0", "environment": "guess"}


def told(result: Result) -> Any:
    return json.loads(result.stdout)


# list, show


def test_runs_are_listed_also_those_nobody_registered(command: Command, tmp_path: Path) -> None:
    fill(
        tmp_path / "runs" / "a" / "store.db",
        [(rollout("r1", 1.0), None)],
        Run(run_id="a", summary={"reward_after": 0.5}),
    )
    fill(tmp_path / "runs" / "b" / "store.db", [(rollout("r2", 1.0, run_id="loose"), None)])
    for arguments in (("runs",), ("runs", "list")):
        rows = told(command(*arguments, "--json"))
        assert [(row["run_id"], row["status"], row["rollouts"]) for row in rows] == [
            ("a", "running", 1),
            ("loose", "", 1),
        ]
        assert rows[0]["reward_after"] == 0.5
    assert told(command("runs", "--json", "--store", str(tmp_path / "runs" / "b" / "store.db")))[0]["run_id"] == "loose"
    assert "loose" in command("runs").stdout
    assert told(command("runs", "--json", "--runs-dir", "nowhere")) == []


@pytest.mark.parametrize("name", ["a", "runs/a", "runs/a/store.db"])
def test_a_run_is_shown_in_numbers(command: Command, tmp_path: Path, name: str) -> None:
    kept = [rollout("r1", 1.0), rollout("r2", 0.0, usage=Usage(output_tokens=30, turns=3)), rollout("r3", None)]
    fill(tmp_path / "runs" / "a" / "store.db", [(one, None) for one in kept], Run(run_id="a"))
    view = told(command("show", name, "--json"))
    assert view["rollouts"] == 3 and view["run_id"] == "a"
    numbers = view["environments"]["guess"]
    assert numbers["mean_reward"] == 0.5, "a failure is no reward of zero"
    assert numbers["outcomes"] == {"policy_error": 1, "scored": 2}
    assert numbers["components"] == {"right": 0.5}
    assert numbers["mean_output_tokens"] == pytest.approx(50 / 3)
    assert "guess" in command("runs", name).stdout


def test_a_rollout_is_shown_as_it_was_spoken(command: Command, tmp_path: Path) -> None:
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "let me see"}]},
        {"type": "function_call", "name": "add", "arguments": '{"n": 1}', "call_id": "c"},
        {"type": "function_call_output", "call_id": "c", "output": "2 \x1b[2J‮ gone"},
        *said("It is 2."),
    ]
    error = ErrorInfo(code="x", message="it broke", stage="verify")
    one = rollout("g/1", 0.25, output=output, error=error)
    fill(tmp_path / "runs" / "a" / "store.db", [(one, row_of("What is 1+1?"))])
    shown = command("show", "g/1").stdout
    for part in (
        "[user]\nWhat is 1+1?",
        "[thinking]\nlet me see",
        "[call add]",
        "[tool]\n2 \\x1b[2J",
        "It is 2.",
        "reward 0.25",
    ):
        assert part in shown
    assert "\x1b" not in shown and "it broke" in shown
    data = told(command("show", "g/1", "--json"))
    assert (data["rollout_id"], data["reward"], data["row"]) == ("g/1", 0.25, row_of("What is 1+1?"))


def test_control_characters_are_written_out() -> None:
    assert printable("a\x1b]0;x\x07\n\tb\x9b\u202e") == "a\\x1b]0;x\\x07\n\tb\\x9b\\x202e"


@pytest.mark.parametrize(
    "ask", [("show", "nobody"), ("runs", "nobody"), ("diff", "nobody", "x"), ("reverify", "nobody")]
)
def test_what_is_not_there_is_a_typed_error(command: Command, tmp_path: Path, ask: tuple[str, ...]) -> None:
    fill(tmp_path / "runs" / "a" / "store.db", [])
    result = command(*ask)
    assert isinstance(result.exception, UnknownName) and "no run 'nobody'" in result.exception.message


# diff


def test_two_runs_are_compared_pair_by_pair(command: Command, tmp_path: Path) -> None:
    first = [rollout(f"a{n}", reward, f"t{n}") for n, reward in enumerate((1.0, 0.0, 0.0, None))]
    second = [
        rollout(f"b{n}", reward, f"t{n}", run_id="b", usage=Usage(output_tokens=20, turns=1))
        for n, reward in enumerate((1.0, 1.0, 0.0, 0.5))
    ]
    path = fill(tmp_path / "both.db", [(one, None) for one in first + second])
    found = told(command("diff", "a", "b", "--json", "--store", str(path)))
    numbers = found["environments"]["guess"]
    assert (numbers["pairs"], numbers["better"], numbers["worse"]) == (4, 1, 0)
    assert numbers["delta"] == pytest.approx(1 / 3), "the pair with a failure has no difference of rewards"
    low, high = numbers["interval"]
    assert 0.0 <= low <= 1 / 3 <= high <= 1.0
    assert numbers["second"]["mean_output_tokens"] == 20
    assert [(one["task_id"], one["first"]["reward"], one["second"]["reward"]) for one in found["changed"]] == [
        ("t1", 0.0, 1.0),
        ("t3", None, 0.5),
    ]
    shown = command("diff", "a", "b", "--store", str(path), "--exit-code")
    assert shown.exit_code == 1 and "2 verdicts or outcomes changed" in shown.stdout
    assert command("diff", "a", "a", "--store", str(path), "--exit-code").exit_code == 0


def test_an_interval_needs_two_and_is_the_same_each_time() -> None:
    assert interval([1.0]) is None
    assert interval([0.5, 0.5]) == (0.5, 0.5)
    assert interval([0.0, 1.0] * 20) == interval([0.0, 1.0] * 20)


def test_two_rollouts_are_compared_line_by_line(command: Command, tmp_path: Path) -> None:
    kept = [rollout("r1", 1.0), rollout("r2", 0.0, output=said("no")), rollout("r3", 1.0)]
    path = fill(tmp_path / "s.db", [(one, None) for one in kept])
    shown = command("diff", "r1", "r2", "--store", str(path), "--exit-code")
    assert shown.exit_code == 1 and "-yes" in shown.stdout and "+no" in shown.stdout
    assert told(command("diff", "r1", "r2", "--store", str(path), "--json"))["rewards"] == [1.0, 0.0]
    same = command("diff", "r1", "r3", "--store", str(path), "--exit-code")
    assert same.exit_code == 0 and "the same" in same.stdout


# reverify


def test_another_version_of_the_verifier_is_compared_and_nothing_is_overwritten(
    command: Command, tmp_path: Path
) -> None:
    place = guess(tmp_path / "guess", "2", 'reply.text == "yes"')
    environment = load_file(place / "environment.py").Guess()
    tasks = make_tasks(environment, seed=0, level=0, count=3)
    rows = [{**task.to_row(), "environment_version": "1"} for task in tasks]
    kept = [
        (rollout(f"r{n}", 1.0, tasks[n].task_id, output=said(text)), rows[n])
        for n, text in enumerate(("yes", "no", "yes"))
    ]
    kept.append((rollout("failed", None, tasks[0].task_id), rows[0]))
    path = fill(tmp_path / "s.db", kept)
    ask = ("reverify", "a", "--store", str(path), "--path", str(place))
    result = command(*ask, "--json", "--output", "graded.jsonl")
    assert result.exit_code == 0, result.output
    found = told(result)
    assert [(one["rollout_id"], one["stored_reward"], one["reward"]) for one in found["changed"]] == [("r1", 1.0, 0.0)]
    assert (found["changed"][0]["stored_version"], found["changed"][0]["version"]) == ("1", "2")
    numbers = found["environments"]["guess"]
    assert (numbers["graded"], numbers["worse"], numbers["better"], numbers["failed"]) == (3, 1, 0, 0)
    assert len((tmp_path / "graded.jsonl").read_text().splitlines()) == 3
    assert command(*ask, "--exit-code").exit_code == 1
    assert told(command("show", "r1", "--store", str(path), "--json"))["reward"] == 1.0


def test_a_rollout_with_tools_is_played_again_in_a_session_of_its_own(command: Command, tmp_path: Path) -> None:
    environment = Registry.discover().load("ledger").cls()
    kept = []
    for number, task in enumerate(make_tasks(environment, seed=0, level=1, count=3)):
        items, verdict = asyncio.run(play_script(environment, task))
        if number == 2:  # a tool that answered otherwise then
            answer = next(item for item in items if item["type"] == "function_call_output")
            answer["output"] = "something else"
        changes = {"environment": "ledger", "environment_version": "0.9", "output": items, "verdict": verdict}
        kept.append((rollout(f"r{number}", 1.0, task.task_id, **changes), task.to_row()))
    path = fill(tmp_path / "s.db", kept)
    result = command("reverify", "a", "--store", str(path), "--json", "--exit-code")
    assert result.exit_code == 0, result.output
    numbers = told(result)["environments"]["ledger"]
    assert (numbers["graded"], numbers["reward"], numbers["diverged"]) == (3, 1.0, 1)


def test_rollouts_without_rows_need_a_file_of_rows(command: Command, tmp_path: Path) -> None:
    place = guess(tmp_path / "guess", "1", "True")
    environment = load_file(place / "environment.py").Guess()
    (task,) = make_tasks(environment, seed=0, level=0, count=1)
    path = fill(tmp_path / "s.db", [(rollout("r1", 1.0, task.task_id), None)])
    ask = ("reverify", "a", "--store", str(path), "--path", str(place), "--json")
    result = command(*ask)
    assert result.exit_code == 3
    assert "--rows" in told(result)["failed"][0]["error"]
    (tmp_path / "rows.jsonl").write_text(json.dumps(task.to_row()) + "\n")
    assert command(*ask, "--rows", "rows.jsonl").exit_code == 0


def test_a_task_that_the_new_version_makes_otherwise_is_not_graded(command: Command, tmp_path: Path) -> None:
    place = guess(tmp_path / "guess", "2", "True")
    environment = load_file(place / "environment.py").Guess()
    (task,) = make_tasks(environment, seed=0, level=0, count=1)
    row = {**task.to_row(), "task_id": "guess-0000000000000000"}
    path = fill(tmp_path / "s.db", [(rollout("r1", 1.0, row["task_id"]), row)])
    result = command("reverify", "a", "--store", str(path), "--path", str(place), "--json")
    assert result.exit_code == 3 and "task_ref makes" in told(result)["failed"][0]["error"]


def test_turns_are_cut_where_the_environment_or_a_user_spoke() -> None:
    call = {"type": "function_call", "name": "f", "call_id": "1", "arguments": "{}"}
    answer = {"type": "function_call_output", "call_id": "1", "output": "x"}
    user = {"type": "message", "role": "user", "content": "and now?"}
    assert turns_of([]) == [[]]
    assert turns_of([call, call, answer, answer, *said("a"), user, *said("b")]) == [[call, call], said("a"), said("b")]
    assert turns_of([call, answer]) == [[call]]


def test_no_name_at_all_is_no_path(command: Command, tmp_path: Path) -> None:
    fill(tmp_path / "store.db", [(rollout("r1", 1.0), None)])
    fill(tmp_path / "other.db", [(rollout("r2", 1.0), None)])
    nothing = command("show", "", "--store", "other.db")
    assert isinstance(nothing.exception, UnknownName), nothing.output


# export, prune, compact


def test_a_run_is_exported_to_lines(command: Command, tmp_path: Path) -> None:
    path = fill(tmp_path / "s.db", [(rollout("r1", 1.0), row_of()), (rollout("r2", None), None)])
    result = command("runs", "export", "a", "--store", str(path), "--json")
    assert told(result) == {"run_id": "a", "rollouts": 2, "output": "a.jsonl", "format": "jsonl"}
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines[0]["responses_create_params"] == {"input": "hello"}
    assert [line["reward"] for line in lines] == [1.0, None]
    assert lines[0]["response"]["output"] == said("yes")
    assert sorted(one.name for one in tmp_path.iterdir() if "partial" in one.name) == []


def test_a_run_is_exported_to_parquet_with_tokens(command: Command, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'palaestra[parquet]'")
    import numpy as np

    from gym_core.contracts import TraceInfo
    from gym_core.tokens import TokenTrace, encode_segment

    blob = encode_segment(
        TokenTrace(
            token_ids=np.array([5, 6, 7], dtype=np.int32),
            logprobs=np.array([0, -0.5, -1], dtype=np.float32),
            loss_mask=np.array([False, True, True]),
            versions=np.array([-1, 0, 0]),
        )
    )
    trace = TraceInfo(offset=0, num_bytes=len(blob), num_tokens=3, num_trainable=2)

    async def put() -> None:
        async with await Store.open(tmp_path / "s.db") as store:
            await store.put_rollout(rollout("r1", 1.0, traces=[trace]), blob, row_of())
            await store.put_rollout(rollout("r2", None))

    asyncio.run(put())
    result = command(
        "runs", "export", "a", "--store", "s.db", "--format", "parquet", "--tokens", "--output", "a.parquet"
    )
    assert result.exit_code == 0, result.output
    rows = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["reward"] for row in rows] == [1.0, None]
    assert rows[0]["traces"][0]["token_ids"] == [5, 6, 7]
    assert rows[0]["traces"][0]["loss_mask"] == [False, True, True]
    assert json.loads(rows[0]["row"]) == row_of() and rows[1]["row"] is None
    assert json.loads(rows[0]["verdict"])["components"] == {"right": 1.0}


def test_a_number_that_parquet_has_no_room_for_is_named(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pip install 'palaestra[parquet]'")
    path = fill(tmp_path / "s.db", [(rollout("r1", 1.0), None), (rollout("r2", 1.0, seed=2**63), None)])
    refused = command("runs", "export", "a", "--store", str(path), "--format", "parquet")
    assert isinstance(refused.exception, BadRequest) and refused.exception.field == "format"
    assert "'r2'" in str(refused.exception) and not (tmp_path / "a.parquet").exists()
    assert command("runs", "export", "a", "--store", str(path)).exit_code == 0


def test_an_export_that_fails_leaves_the_earlier_file(command: Command, tmp_path: Path) -> None:
    path = fill(tmp_path / "s.db", [(rollout("r1", 1.0), None)])
    (tmp_path / "a.jsonl").write_text("earlier\n")
    from gym_core.contracts import TraceInfo

    trace = TraceInfo(offset=0, num_bytes=3, num_tokens=1, num_trainable=1)

    async def put() -> None:
        async with await Store.open(path) as store:
            await store.put_rollout(rollout("r2", 1.0, traces=[trace]), b"abc")

    asyncio.run(put())
    result = command("runs", "export", "a", "--store", str(path), "--tokens")
    assert result.exception is not None and "r2" in str(result.exception)
    assert (tmp_path / "a.jsonl").read_text() == "earlier\n"
    nowhere = command("runs", "export", "a", "--store", str(path), "--output", "nowhere/a.jsonl")
    assert isinstance(nowhere.exception, BadRequest) and nowhere.exception.field == "output"


def test_old_runs_are_pruned_and_the_newest_stay(command: Command, tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        kept = rollout(f"r{name}", 1.0, run_id=name, created_at=100.0 + number)
        fill(tmp_path / "runs" / name / "store.db", [(kept, row_of())])
    fill(tmp_path / "runs" / "live" / "store.db", [(rollout("rl", 1.0, run_id="live"), None)], Run(run_id="live"))
    assert command("runs", "prune").exit_code != 0
    assert "no age" in command("runs", "prune", "--older-than", "soon").output
    dry = told(command("runs", "prune", "--keep-last", "1", "--dry-run", "--json"))
    assert [row["run_id"] for row in dry] == ["a", "b"]
    gone = told(command("runs", "prune", "--older-than", "1d", "--keep-last", "1", "--json"))
    assert [(row["run_id"], row["rollouts"]) for row in gone] == [("a", 1), ("b", 1)]
    rows = told(command("runs", "--json"))
    assert [(row["run_id"], row["rollouts"]) for row in rows] == [("c", 1), ("live", 1)]


def test_compacting_says_what_it_found(command: Command, tmp_path: Path) -> None:
    async def put() -> None:
        async with await Store.open(tmp_path / "s.db") as store:
            for number in range(20):
                await store.put_rollout(rollout(f"r{number}", 1.0), b"tokens" * 50)

    asyncio.run(put())
    (first,) = told(command("runs", "compact", "--store", "s.db", "--json"))
    assert first["blobs"] == 20 and first["bytes_after"] < first["bytes_before"] == 6000
    (segment,) = (tmp_path / "s.db.blobs").glob("*.packed")
    segment.unlink()
    result = command("runs", "compact", "--store", "s.db")
    assert result.exit_code == 1 and segment.name in result.output
