"""The token, the loopback rule, and where secrets come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from gym_core import auth
from gym_core.errors import BadRequest


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_token(host: str) -> None:
    assert auth.is_loopback(host)
    auth.require_token_beyond_loopback(host, None)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", None, "10.0.0.1", "example.org", "127.0.0.1.example.org", "fe80::1%lo"]
)
def test_beyond_loopback_a_token_is_needed(host: str | None) -> None:
    assert not auth.is_loopback(host)
    for missing in (None, ""):
        with pytest.raises(BadRequest, match="refusing to listen") as caught:
            auth.require_token_beyond_loopback(host, missing)
        assert "PALAESTRA_TOKEN" in caught.value.hint
    auth.require_token_beyond_loopback(host, "t")


def test_a_secret_comes_from_the_environment_first_then_the_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets.toml"
    path.write_text('token = "from-file"\njudge_api_key = "j"\n')
    environ = {"PALAESTRA_SECRETS": str(path)}
    assert auth.secret(environ=environ) == "from-file"
    assert auth.secret("judge_api_key", environ) == "j"
    assert auth.secret("other", environ) is None
    assert auth.secret(environ={**environ, "PALAESTRA_TOKEN": " from-env\n"}) == "from-env"
    assert auth.secret(environ={}) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [("token = ", "is not TOML"), ("token = 3", "must be text"), ('token = "a b"', "no HTTP header carries")],
)
def test_a_secrets_file_that_cannot_be_used_is_named_but_not_quoted(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "secrets.toml"
    path.write_text(text)
    with pytest.raises(BadRequest, match=says):
        auth.secret(environ={"PALAESTRA_SECRETS": str(path)})
    with pytest.raises(BadRequest, match="cannot read the secrets file"):
        auth.secret(environ={"PALAESTRA_SECRETS": str(tmp_path / "none")})


@pytest.mark.parametrize(
    "name",
    ["token", "upstream_token", "hf-token", "API_KEY", "judge_api_key", "db.password", "Authorization", "secret"],
)
def test_names_of_secrets(name: str) -> None:
    assert auth.is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["tokens", "max_tokens", "eos_token", "pad_token", "tokenizer", "key", "stop_token", "secretary", "broken"]
)
def test_names_that_only_look_like_secrets(name: str) -> None:
    assert not auth.is_secret_name(name)


def test_redact_masks_deeply_and_keeps_the_rest() -> None:
    given = {
        "api_key": "k",
        "token": 7,
        "password": "",
        "list": [{"secret": "s", "x": (1, 2)}],
        "url": "redis://user:hunter2@host:1/0",
        "mail": "a@b.c",
    }
    assert auth.redact(given) == {
        "api_key": "***",
        "token": 7,
        "password": "",
        "list": [{"secret": "***", "x": [1, 2]}],
        "url": "redis://user:***@host:1/0",
        "mail": "a@b.c",
    }
    assert given["api_key"] == "k"


def test_workers_keep_the_one_token_that_opens_the_sandbox_service(tmp_path: Path) -> None:
    """They call nobody else: without a sandbox service they keep none, with one of its own only that."""
    secrets = tmp_path / "secrets.toml"
    secrets.write_text('token = "house"\nsandbox_token = "cage"\n')
    plain = {"PATH": "/bin", "PALAESTRA_TOKEN": "house", "PALAESTRA_JUDGE_API_KEY": "key"}
    assert auth.without_secrets(plain) == {"PATH": "/bin"}
    named = plain | {"PALAESTRA_SANDBOX_URL": "http://sandbox:1"}
    assert auth.without_secrets(named)["PALAESTRA_SANDBOX_TOKEN"] == "house"
    kept = auth.without_secrets(named | {"PALAESTRA_SECRETS": str(secrets)})
    assert (
        kept["PALAESTRA_SANDBOX_TOKEN"] == "cage" and "PALAESTRA_SECRETS" not in kept and "PALAESTRA_TOKEN" not in kept
    )
