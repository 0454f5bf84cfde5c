"""Tokens with scopes: what opens what, two at once, and a file that changes under a running server."""

from __future__ import annotations

from pathlib import Path

import pytest

from gym_core import token_file
from gym_core.access import Access, Grant
from gym_core.client import Client
from gym_core.errors import BadRequest, Forbidden, Unauthorized
from gym_core.serve import harden, json_reply, start
from gym_core.token_file import SCOPES, digest
from gym_core.watched import Watched


@pytest.mark.parametrize("header", ["Bearer t0ken", "bearer t0ken", "BEARER  t0ken "])
def test_the_right_token_passes(header: str) -> None:
    Access.of("t0ken").check(header, "admin")


@pytest.mark.parametrize(
    "header", [None, "", "t0ken", "Basic t0ken", "Bearer", "Bearer t0ke", "Bearer t0kenn", "Bearer \udcff"]
)
def test_anything_else_is_refused_without_telling_the_token(header: str | None) -> None:
    with pytest.raises(Unauthorized) as caught:
        Access.of("t0ken").check(header, "admin")
    assert "t0ken" not in str(caught.value.info())


def test_without_a_token_everybody_may_call() -> None:
    for missing in (None, ""):
        access = Access.of(missing)
        access.check(None, "admin")
        access.check("Bearer whatever", "admin")
        assert access.open and not access


def test_a_scope_opens_itself_and_admin_opens_all() -> None:
    for scope in SCOPES:
        assert Grant("", frozenset({scope})).opens(scope)
        assert Grant("", frozenset({"admin"})).opens(scope)
        assert not Grant("", frozenset(SCOPES) - {scope, "admin", "rollouts:run"}).opens(scope)
    assert Grant("", frozenset({"rollouts:run"})).opens("rollouts:read")
    assert not Grant("", frozenset({"rollouts:read"})).opens("rollouts:run")


def test_a_valid_token_without_the_scope_is_told_which_one_it_lacks() -> None:
    access = Access(lambda: [Grant(digest("t"), frozenset({"policy:generate"}))])
    access.check("Bearer t", "policy:generate")
    with pytest.raises(Forbidden, match="policy:weights") as caught:
        access.check("Bearer t", "policy:weights")
    assert caught.value.status == 403


def test_a_token_ends_at_its_time() -> None:
    now = 100.0
    access = Access(lambda: [Grant(digest("t"), frozenset({"admin"}), expires=101)], clock=lambda: now)
    access.check("Bearer t", "admin")
    assert access
    now = 101.0
    with pytest.raises(Unauthorized):
        access.check("Bearer t", "admin")
    assert not access and not access.open


def test_the_tokens_file_alone_says_who_may_call_where_there_is_one(tmp_path: Path) -> None:
    """Else whoever receives the token that a server shows to others could call that server as anything."""
    path = tmp_path / "tokens.json"
    token = token_file.new(path, "trainer", ["rollouts:run"])
    access = Access.configured({"PALAESTRA_TOKENS": str(path), "PALAESTRA_TOKEN": "shown-to-others"})
    access.check(f"Bearer {token}", "rollouts:run")
    with pytest.raises(Unauthorized):
        access.check("Bearer shown-to-others", "rollouts:run")
    Access.configured({"PALAESTRA_TOKEN": "alone"}).check("Bearer alone", "policy:weights")


def test_a_changed_file_counts_and_an_emptied_one_lets_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gym_core.watched.LOOK_EVERY_S", 0.0)
    path = tmp_path / "tokens.json"
    first = token_file.new(path, "trainer", ["rollouts:run"])
    access = Access.configured({"PALAESTRA_TOKENS": str(path)})
    second = token_file.rotate(path, "trainer", keep_s=3600)
    for token in (first, second):
        access.check(f"Bearer {token}", "rollouts:run")
    third = token_file.rotate(path, "trainer", keep_s=0)
    access.check(f"Bearer {third}", "rollouts:run")
    for token in (first, second):
        with pytest.raises(Unauthorized):
            access.check(f"Bearer {token}", "rollouts:run")
    token_file.revoke(path, "trainer")
    with pytest.raises(Unauthorized):
        access.check(f"Bearer {third}", "rollouts:run")
    assert not access.open, "a file without tokens closes the door, it does not open it"


@pytest.mark.parametrize("broken", [b"{", b'{"tokens": {"a": {"scopes": ["everything"], "keys": []}}}', None])
def test_a_file_that_breaks_while_the_server_runs_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bytes | None
) -> None:
    monkeypatch.setattr("gym_core.watched.LOOK_EVERY_S", 0.0)
    path = tmp_path / "tokens.json"
    token = token_file.new(path, "trainer", ["admin"])
    access = Access.configured({"PALAESTRA_TOKENS": str(path)})
    path.unlink() if broken is None else path.write_bytes(broken)
    access.check(f"Bearer {token}", "admin")
    with pytest.raises(BadRequest):
        Access.configured({"PALAESTRA_TOKENS": str(path)})


def test_a_secrets_file_may_change_at_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gym_core.auth import own_token

    monkeypatch.setattr("gym_core.watched.LOOK_EVERY_S", 0.0)
    path = tmp_path / "secrets.toml"
    path.write_text('token = "old"\n')
    environ = {"PALAESTRA_SECRETS": str(path)}
    access, shown = Access.configured(environ), own_token(environ)
    assert shown is not None and shown() == "old"
    path.write_text('token = "newer"\n')
    assert shown() == "newer"
    access.check("Bearer newer", "admin")
    with pytest.raises(Unauthorized):
        access.check("Bearer old", "admin")


def test_a_file_is_looked_at_no_more_than_once_a_second(tmp_path: Path) -> None:
    path, now, made = tmp_path / "file", 10.0, 0
    path.write_text("a")

    def make() -> str:
        nonlocal made
        made += 1
        return path.read_text()

    watched = Watched(path, make, clock=lambda: now)
    path.write_text("changed")
    assert (watched.get(), made) == ("a", 1)
    now = 11.0
    assert (watched.get(), watched.get(), made) == ("changed", "changed", 2)


async def test_routes_want_their_own_scopes_and_metrics_theirs() -> None:
    from aiohttp import web

    async def answer(_: web.Request) -> web.Response:
        return json_reply({})

    scopes = {name: frozenset({name}) for name in ("policy:generate", "policy:weights", "metrics:read")}
    access = Access(lambda: [Grant(digest(name), opened) for name, opened in scopes.items()])
    app = web.Application()
    app.router.add_post("/weights", answer)
    app.router.add_post("/generate", answer)
    harden(app, "testing", access, scope="policy:generate", scopes={"/weights": "policy:weights"})
    opened = {}
    async with await start(app) as served:
        for name in scopes:
            async with Client(served.url, token=name, retries=0) as client:
                said = [await client.request(method, path, check=False) for method, path in
                        (("POST", "/generate"), ("POST", "/weights"), ("GET", "/metrics"), ("GET", "/healthz"),
                         ("GET", "/elsewhere"))]  # fmt: skip
                opened[name] = [reply.status for reply in said]
    assert opened == {
        "policy:generate": [200, 403, 403, 200, 404],
        "policy:weights": [403, 200, 403, 200, 403],
        "metrics:read": [403, 403, 200, 200, 403],
    }
