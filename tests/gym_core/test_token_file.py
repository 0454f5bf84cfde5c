"""The file of tokens: digests only, for its owner's eyes, never half written, two keys while one is exchanged."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import msgspec
import pytest

from gym_core import token_file
from gym_core.errors import BadRequest, Conflict, UnknownName


def test_the_file_holds_the_digest_and_its_owner_alone_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = token_file.new(path, "trainer", ["rollouts:run", "metrics:read"], days=2, now=1000.0)
    assert len(token) >= 43 and token.encode() not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    holder = token_file.read(path).tokens["trainer"]
    assert holder.scopes == ["metrics:read", "rollouts:run"]
    assert [(key.sha256, key.created, key.expires) for key in holder.keys] == [
        (token_file.digest(token), 1000, 1000 + 2 * 86400)
    ]


def test_rotating_keeps_the_old_key_for_a_while_and_never_makes_it_live_longer(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token_file.new(path, "a", ["admin"], days=1, now=0.0)
    token_file.rotate(path, "a", keep_s=100, now=1000.0)
    token_file.rotate(path, "a", keep_s=500, now=1050.0)
    keys = token_file.read(path).tokens["a"].keys
    assert [(key.created, key.expires) for key in keys] == [(0, 1100), (1000, 1550), (1050, 0)]
    token_file.rotate(path, "a", keep_s=0, now=2000.0)
    assert [key.created for key in token_file.read(path).tokens["a"].keys] == [2000]


def test_what_cannot_be_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    with pytest.raises(BadRequest, match="no scope 'rollout:run'") as caught:
        token_file.new(path, "a", ["rollout:run"])
    assert "rollouts:run" in caught.value.hint
    with pytest.raises(BadRequest, match="needs a scope"):
        token_file.new(path, "a", [])
    assert not path.exists()
    token_file.new(path, "trainer", ["admin"])
    before = path.read_bytes()
    with pytest.raises(Conflict):
        token_file.new(path, "trainer", ["admin"])
    for change in (lambda: token_file.rotate(path, "trainr", keep_s=0), lambda: token_file.revoke(path, "trainr")):
        with pytest.raises(UnknownName) as unknown:
            change()
        assert "trainer" in unknown.value.hint
    assert path.read_bytes() == before


def test_a_broken_file_is_named_but_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text('{"tokens": "s3cret"}')
    with pytest.raises(BadRequest, match="is not a tokens file") as caught:
        token_file.read(path)
    assert "s3cret" not in str(caught.value.info())
    with pytest.raises(BadRequest, match="cannot read"):
        token_file.read(tmp_path / "none.json")


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    threads = [threading.Thread(target=token_file.new, args=(path, f"n{n}", ["admin"])) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(token_file.read(path).tokens) == 12
    assert msgspec.json.decode(path.read_bytes())
