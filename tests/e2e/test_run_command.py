"""`palaestra run` against a five-line chat endpoint: scored rows, pass@k, and going on after anything broke off."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gym_core.serve import Served, start
from gym_core.store import Store

ROOT = Path(__file__).resolve().parent.parent.parent


class Endpoint:
    """Answers `\\boxed{n}` where the prompt says `say n`; `wrong` and `failing` prompts fare accordingly."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing: frozenset[str] = frozenset()
        self.wrong_once: set[str] = set()
        self.held: asyncio.Event | None = None

    async def chat(self, request: web.Request) -> web.Response:
        prompt = (await request.json())["messages"][-1]["content"]
        self.asked.append(prompt)
        if prompt in self.failing and self.held is not None:
            await self.held.wait()
        if prompt in self.failing:
            return web.Response(status=500, text="out of memory")
        number = "0" if prompt in self.wrong_once else prompt.split()[-1]
        self.wrong_once.discard(prompt)
        message = {"role": "assistant", "content": f"It is \\boxed{{{number}}}."}
        return web.json_response({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


@pytest.fixture
async def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
async def served(endpoint: Endpoint) -> AsyncIterator[Served]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", endpoint.chat)
    async with await start(app) as running:
        yield running


async def begun(folder: Path, served: Served, *more: str) -> asyncio.subprocess.Process:
    arguments = ["run", "--env", "math", "--input", "rows.jsonl", "--output", "out.jsonl", "--repeats", "2",
                 "--policy", f"{served.url}/v1", "--json", *more]  # fmt: skip
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "palaestra", *arguments, cwd=folder, stdout=-1, stderr=-1,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


async def run(folder: Path, served: Served, *more: str) -> tuple[int, dict[str, Any], str]:
    process = await begun(folder, served, *more)
    out, err = await process.communicate()
    assert b"Traceback" not in err, err.decode()
    return process.returncode or 0, json.loads(out) if out else {}, err.decode()


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


async def test_rollouts_are_collected_scored_and_gone_on_with(
    tmp_path: Path, endpoint: Endpoint, served: Served
) -> None:
    rows = [{"responses_create_params": {"input": f"say {n}"}, "expected_answer": str(n), "source": "x"}
            for n in (3, 4, 5)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    endpoint.wrong_once, endpoint.failing = {"say 4"}, frozenset({"say 5"})

    code, summary, _ = await run(tmp_path, served)
    assert code == 3, "two rollouts have no score"
    assert summary["outcomes"] == {"policy_error": 2, "scored": 4}
    assert summary["tasks"] == 2 and summary["mean_reward"] == pytest.approx(0.75)
    assert summary["pass@1"] == pytest.approx(0.75) and summary["pass@2"] == 1.0
    written = lines(tmp_path)
    assert sorted((row["_ng_task_index"], row["_ng_rollout_index"]) for row in written) == [
        (task, repeat) for task in range(3) for repeat in range(2)
    ]
    good = next(row for row in written if row["reward"] == 1.0)
    assert good["source"] == "x" and good["outcome"] == "scored" and good["environment"] == "math"
    assert good["response"]["output"][-1]["content"][0]["text"].startswith("It is")
    assert all(row["reward"] is None and row["error"]["message"] for row in written if row["outcome"] == "policy_error")

    # The failed ones alone are played again.
    endpoint.failing, endpoint.asked = frozenset(), []
    code, summary, _ = await run(tmp_path, served)
    assert code == 0 and endpoint.asked == ["say 5", "say 5"]
    assert summary["outcomes"] == {"scored": 6} and summary["pass@1"] == pytest.approx(5 / 6)

    # The file lost the end of its last line: that rollout alone is played again, and the file is whole.
    path, endpoint.asked = tmp_path / "out.jsonl", []
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    code, summary, _ = await run(tmp_path, served)
    assert code == 0 and len(endpoint.asked) == 1 and summary["outcomes"] == {"scored": 6}
    ids = [row["rollout_id"] for row in lines(tmp_path) if row["outcome"] == "scored"]
    assert len(ids) == len(set(ids)) == 6

    # Nothing is missing: nothing is played.
    before, endpoint.asked = path.read_bytes(), []
    code, again, _ = await run(tmp_path, served)
    assert code == 0 and endpoint.asked == [] and path.read_bytes() == before and again == summary


async def test_a_killed_collection_goes_on_from_its_store(tmp_path: Path, endpoint: Endpoint, served: Served) -> None:
    rows = [{"responses_create_params": {"input": f"say {n}"}, "expected_answer": str(n)} for n in (3, 4, 5)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    endpoint.failing, endpoint.held = frozenset({"say 5"}), asyncio.Event()
    process = await begun(tmp_path, served, "--store", "kept.db")
    output = tmp_path / "out.jsonl"
    async with asyncio.timeout(120):
        while not output.exists() or output.read_bytes().count(b"\n") < 4:
            await asyncio.sleep(0.02)
    process.kill()
    await process.communicate()
    output.unlink()  # worse than any kill: nothing was written of what was finished
    endpoint.held.set()
    endpoint.failing, endpoint.asked = frozenset(), []

    code, summary, _ = await run(tmp_path, served, "--store", "kept.db")
    assert code == 0 and endpoint.asked == ["say 5", "say 5"]
    assert summary["outcomes"] == {"scored": 6} and len(lines(tmp_path)) == 6
    assert sorted((row["_ng_task_index"], row["_ng_rollout_index"]) for row in lines(tmp_path)) == [
        (task, repeat) for task in range(3) for repeat in range(2)
    ]
    async with await Store.open(tmp_path / "kept.db", create=False) as store:
        (kept,) = await store.runs()
        assert (kept.kind, kept.status, kept.summary["outcomes"]) == ("collect", "done", {"scored": 6})
        rows_kept = [one.row async for one in store.iter_stored(kept.run_id)]
        assert all(row is not None and row["expected_answer"] in "345" for row in rows_kept)
