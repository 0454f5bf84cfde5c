"""The dashboard's routes: the page, its data, its stream, and what it says when something is gone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from played import RUN, Bytes, Shown, message, rollout, trace
from sqlalchemy import text

from gym_core.client import Client
from gym_core.contracts import Outcome
from gym_core.errors import BadRequest, Busy, Unauthorized, UnknownName
from gym_core.serve import harden, start
from gym_core.store import Store
from gym_core.store import engine as engines
from palaestra.dashboard import live, viewer
from palaestra.dashboard.app import mount
from palaestra.dashboard.library import Library

API = "/dashboard/api"
WHERE = f"store={RUN}&run={RUN}"


def one(number: int) -> str:
    return f"store={RUN}&id={RUN}/{number}"


async def events(client: Client, query: str = "") -> AsyncIterator[tuple[str, Any]]:
    """Server-sent events as they come."""
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{client.base_url}{API}/live?{query}") as r,
    ):
        assert r.status == 200 and r.content_type == "text/event-stream"
        name = ""
        async for line in r.content:
            said = line.decode().rstrip("\n")
            if said.startswith("event: "):
                name = said.removeprefix("event: ")
            elif said.startswith("data: "):
                yield name, json.loads(said.removeprefix("data: "))


async def test_the_page_is_served_with_a_strict_policy(store: Store, shown: Shown) -> None:
    client = await shown()
    for path, kind in (
        ("/dashboard/", "text/html"),
        ("/dashboard/app.js", "text/javascript"),
        ("/dashboard/base.css", "text/css"),
    ):
        reply = await client.get(path)
        assert reply.headers["Content-Type"].startswith(kind)
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "require-trusted-types-for" in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
    moved = await client.get("/", check=False)
    assert (moved.status, moved.headers["Location"]) == (302, "/dashboard/")
    data = await client.get(f"{API}/runs")
    assert (data.headers["Cache-Control"], data.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


async def test_runs_and_one_run(filled: Store, shown: Shown) -> None:
    client = await shown()
    listed = (await client.get(f"{API}/runs")).json()
    (run,) = listed["runs"]
    assert (run["store"], run["run_id"], run["rollouts"], run["arm"], run["seed"]) == (RUN, RUN, 12, "grpo", 3)
    assert (listed["stores"], listed["troubles"]) == (1, [])
    whole = (await client.get(f"{API}/run?{WHERE}")).json()
    assert whole["outcomes"] == {"ledger": {"env_error": 1, "scored": 5}, "math": {"scored": 6}}
    assert whole["rewards"]["math"] == [[0, 0.0], [1, 0.2], [2, 0.4]] and whole["rewards_from"] == "metrics"
    assert whole["last"]["step"] == 2 and whole["speed"] == [[0, 50.0], [1, 50.0], [2, 50.0]]
    assert whole["complete"] and whole["counted"] == 12 and whole["mismatch"][0][1] == pytest.approx(1e-7)


async def test_a_run_that_was_killed_is_silent_and_a_finished_one_is_not(
    filled: Store, shown: Shown, tmp_path: Path
) -> None:
    async def status() -> str:
        (run,) = (await (await shown()).get(f"{API}/runs")).json()["runs"]
        return str(run["status"])

    def long_ago() -> None:
        for path in (tmp_path / "runs" / RUN).glob("store.db*"):
            os.utime(path, (1_700_000_000, 1_700_000_000))

    assert await status() == "running"  # its store was written to a moment ago
    async with await Store.open(tmp_path / "runs" / RUN / "store.db") as other:
        await other._change(lambda c: c.execute(text("UPDATE runs SET created_at = 1700000000")).rowcount)
    long_ago()
    assert await status() == "silent"
    await filled.finish_run(RUN, "finished", {"reward_before": 0.25, "reward_after": 0.75})
    assert await status() == "finished"


async def test_an_empty_store_and_no_store(store: Store, shown: Shown, tmp_path: Path) -> None:
    assert (await (await shown()).get(f"{API}/runs")).json() == {"runs": [], "stores": 1, "troubles": []}
    assert (await (await shown(tmp_path / "absent")).get(f"{API}/runs")).json()["stores"] == 0


async def test_a_broken_store_does_not_hide_the_others(filled: Store, shown: Shown, tmp_path: Path) -> None:
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "store.db").write_bytes(b"SQLite format 3\0" + b"x" * 4096)
    listed = (await (await shown()).get(f"{API}/runs")).json()
    assert [run["run_id"] for run in listed["runs"]] == [RUN]
    (trouble,) = listed["troubles"]
    assert trouble["store"] == "broken" and trouble["error"]["message"]


async def test_a_rollout_with_everything(store: Store, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "load_tokenizer", lambda folder: Bytes())
    blob, traces = trace("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", "yes", [-0.1, -2.0, -0.2])
    hostile = "<script>alert(1)</script>\u202eevil"
    await store.put_rollout(rollout(0, traces=traces, output=[message("<think>hm</think>" + hostile)]), blob)
    await store.put_rollout(rollout(1))
    client = await shown()
    told = (await client.get(f"{API}/rollout?{one(0)}")).json()
    assert [(part["kind"], part["text"]) for part in told["parts"]] == [
        ("user", "hi"),
        ("think", "hm"),
        ("assistant", hostile),
    ]
    assert told["prompt_from"] == "tokens" and told["verdict"]["components"] == {"exact": 0.0}
    assert [member["rollout_id"] for member in told["group"]] == [f"{RUN}/0", f"{RUN}/1"]
    tokens = (await client.get(f"{API}/rollout/tokens?{one(0)}&trace=0&start=0&count=4096")).json()
    assert tokens["pieces"][-3:] == ["y", "e", "s"] and tokens["logprobs"][-3:] == pytest.approx([-0.1, -2.0, -0.2])
    raw = (await client.get(f"{API}/rollout/raw?{one(0)}")).json()
    assert raw["rollout_id"] == f"{RUN}/0" and raw["output"]


async def test_the_prompt_is_that_of_the_row_where_rows_are_kept(store: Store, shown: Shown) -> None:
    row = {"environment": "math", "responses_create_params": {"input": "2+2?", "instructions": "be brief"}}
    await store.put_rollout(rollout(0), b"", row)
    told = (await (await shown()).get(f"{API}/rollout?{one(0)}")).json()
    assert [(part["kind"], part["text"], part["prompt"]) for part in told["parts"]] == [
        ("system", "be brief", True),
        ("user", "2+2?", True),
        ("assistant", "answer 0", False),
    ]
    assert told["prompt_from"] == "row"


async def test_a_very_long_text_comes_in_pieces(store: Store, shown: Shown) -> None:
    await store.put_rollout(rollout(0, output=[message("ä" * 500_000)]))
    client = await shown()
    (part,) = (await client.get(f"{API}/rollout?{one(0)}")).json()["parts"]
    assert (len(part["text"]), part["length"]) == (20_000, 500_000)
    piece = (await client.get(f"{API}/rollout/text?{one(0)}&part=0&start=20000")).json()
    assert (len(piece["text"]), piece["start"], piece["length"]) == (200_000, 20_000, 500_000)
    with pytest.raises(UnknownName, match="has 1 parts"):
        await client.get(f"{API}/rollout/text?{one(0)}&part=7")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("run?store=nope&run=x", UnknownName),
        (f"run?store={RUN}&run=nope", UnknownName),
        ("run?run=x", BadRequest),
        (f"rollout?store={RUN}&id=nope", UnknownName),
        (f"rollout?store={RUN}", BadRequest),
        (f"rollout/tokens?{one(0)}", UnknownName),
        (f"rollout/tokens?{one(0)}&trace=x", BadRequest),
        (f"rollouts?{WHERE}&limit=9999", BadRequest),
        (f"rollouts?{WHERE}&step=two", BadRequest),
        (f"rollouts?{WHERE}&colour=red", BadRequest),
        (f"rollouts?store=../../etc&run={RUN}", UnknownName),
    ],
)
async def test_what_is_not_there_or_not_understood(
    filled: Store, shown: Shown, path: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await (await shown()).get(f"{API}/{path}")


async def test_damaged_tokens_are_told(store: Store, shown: Shown, tmp_path: Path) -> None:
    blob, traces = trace("a", "b", [-1.0])
    await store.put_rollout(rollout(0, traces=traces), blob)
    for file in (tmp_path / "runs" / RUN / "store.db.blobs").iterdir():
        file.write_bytes(b"\xff" * file.stat().st_size)
    client = await shown()
    reply = await client.get(f"{API}/rollout/tokens?{one(0)}", check=False)
    assert reply.status >= 400 and reply.json()["error"]["message"]
    told = (await client.get(f"{API}/rollout?{one(0)}")).json()  # what was said is not damaged
    assert [part["text"] for part in told["parts"]] == ["answer 0"]


async def test_a_token_guards_the_data_but_not_the_empty_page(filled: Store, shown: Shown) -> None:
    client = await shown(token="secret-token")
    assert (await client.get(f"{API}/runs")).json()["stores"] == 1
    async with Client(client.base_url, retries=0) as stranger:
        assert (await stranger.get("/dashboard/")).ok
        for path in ("runs", "live", f"rollouts?{WHERE}"):
            with pytest.raises(Unauthorized):
                await stranger.get(f"{API}/{path}")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example"])
async def test_without_a_token_it_answers_under_no_foreign_name(store: Store, shown: Shown, host: str) -> None:
    client = await shown()
    with pytest.raises(Unauthorized):
        await client.get(f"{API}/runs", headers={"Host": host})
    for fine in ("localhost:1", "127.0.0.1", "[::1]:80", "10.0.0.7:8000"):
        assert (await client.get(f"{API}/runs", headers={"Host": fine})).ok


async def test_the_stream_tells_what_changes(filled: Store, shown: Shown) -> None:
    client = await shown()
    counts = []
    async with asyncio.timeout(60):
        async for name, data in events(client, WHERE):
            if name != "run":
                continue
            counts.append(data["run"]["rollouts"])
            if len(counts) == 1:
                await filled.put_rollout(rollout(12))
            elif counts[-1] == 13:
                break
    assert counts[0] == 12


async def test_the_stream_says_that_a_run_was_deleted(filled: Store, shown: Shown, tmp_path: Path) -> None:
    client = await shown()
    async with asyncio.timeout(60):
        async for name, data in events(client, WHERE):
            if name == "run":
                await filled.close()
                shutil.rmtree(tmp_path / "runs" / RUN, ignore_errors=True)
            if name == "trouble" and data is not None:
                assert data["code"] == "unknown_name" and "deleted" in data["hint"]
                break


async def test_a_locked_store_is_told_and_comes_back(
    filled: Store, shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled.close()
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "runs" / RUN / "store.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    client = await shown()
    seen = []
    async with asyncio.timeout(60):
        async for name, data in events(client, WHERE):
            if name == "trouble" and data is not None:
                assert "locked" in data["message"]
                seen.append("locked")
                holder.execute("COMMIT")
                holder.close()
            if name == "run":
                seen.append("run")
                break
    assert seen == ["locked", "run"]


async def test_streams_end_with_the_server(filled: Store, tmp_path: Path) -> None:
    app = harden(web.Application(), "agent")
    mount(app, Library([tmp_path / "runs"]))
    served = await start(app)
    told = events(Client(served.url))
    assert (await anext(told))[0] == "trouble"
    async with asyncio.timeout(60):
        await served.close()
        rest = [name async for name, _ in told]
    assert set(rest) <= {"runs", "services", "trouble"}


async def test_mounted_in_another_server_it_watches_that_one(filled: Store, tmp_path: Path) -> None:
    app = harden(web.Application(), "agent")
    mount(app, Library([tmp_path / "runs"]))
    async with await start(app) as served, Client(served.url) as client, asyncio.timeout(60):
        async for name, data in events(client):
            if name == "services" and data and data[0]["up"]:
                assert data[0]["name"] == "agent"
                break


async def test_services_of_a_run_are_followed_on_this_machine_only(filled: Store, shown: Shown, tmp_path: Path) -> None:
    named = {"agent": "http://127.0.0.1:9", "policy": "http://evil.example:80", "odd": "file:///etc/passwd"}
    (tmp_path / "runs" / RUN / "services.json").write_text(json.dumps(named))
    assert (await (await shown()).get(f"{API}/run?{WHERE}")).json()["services"] == {"agent": "http://127.0.0.1:9"}


async def test_every_outcome_can_be_asked_for(filled: Store, shown: Shown) -> None:
    client = await shown()
    for outcome in Outcome:
        found = (await client.get(f"{API}/rollouts?{WHERE}&outcome={outcome}")).json()["rollouts"]
        assert all(row["outcome"] == outcome for row in found)


async def test_watchers_are_bounded(filled: Store, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_STREAMS", 0)
    with pytest.raises(Busy):
        await (await shown()).get(f"{API}/live")
