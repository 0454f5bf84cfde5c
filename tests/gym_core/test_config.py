"""Layers of settings, and errors that say where, what and how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core import config
from gym_core.errors import BadRequest


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    max_steps: Annotated[int, msgspec.Meta(ge=1)] = 8
    tool_s: float = 60.0


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: int = 8100
    rate: float = 0.5
    open: bool = False
    backend: Literal["embedded", "upstream"] = "embedded"
    names: list[str] = []
    peers: dict[str, str] = {}
    folder: Path = Path("runs")
    judge_api_key: str = ""
    timeout_s: float | None = None
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate must be 0 or more, not {self.rate}")


class Needy(msgspec.Struct):
    policy_url: str
    retries: int = 2


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "palaestra.toml"
    path.write_text(text)
    return path


def load(file: Path | None = None, overrides: dict[str, Any] | None = None, **environ: str) -> Agent:
    return config.load(Agent, file=file, section="agent", overrides=overrides, environ=environ)


def test_without_anything_the_defaults_hold() -> None:
    assert load() == Agent()


def test_each_layer_overrides_the_one_before(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[agent]\nport = 1\nhost = "file"\nrate = 2\n[agent.limits]\nmax_steps = 3\n[policy]\nport = 9'
    )
    loaded = load(
        path, {"port": 3, "limits": {"tool_s": 1}}, PALAESTRA_AGENT_PORT="2", PALAESTRA_AGENT_LIMITS_MAX_STEPS="4"
    )
    assert (loaded.port, loaded.host, loaded.rate) == (3, "file", 2.0)
    assert loaded.limits == Limits(max_steps=4, tool_s=1.0)
    assert config.sources(loaded) == {
        **dict.fromkeys(
            ["open", "backend", "names", "peers", "folder", "judge_api_key", "timeout_s"],
            "default",
        ),
        "host": str(path),
        "rate": str(path),
        "port": "flag",
        "limits.max_steps": "PALAESTRA_AGENT_LIMITS_MAX_STEPS",
        "limits.tool_s": "flag",
    }


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    assert load(overrides={"port": None}, PALAESTRA_AGENT_PORT="7").port == 7


def test_a_file_without_the_section_is_fine(tmp_path: Path) -> None:
    assert load(write(tmp_path, "[policy]\nport = 1")) == Agent()


def test_without_section_the_file_is_the_record(tmp_path: Path) -> None:
    path = write(tmp_path, 'policy_url = "http://x"')
    assert config.load(Needy, file=path, environ={"PALAESTRA_RETRIES": "5"}) == Needy("http://x", 5)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("RATE", "3", 3.0),
        ("OPEN", "true", True),
        ("OPEN", "1", True),
        ("HOST", "[::1]", "[::1]"),
        ("HOST", "", ""),
        ("NAMES", "a, b,c", ["a", "b", "c"]),
        ("NAMES", '["a,b"]', ["a,b"]),
        ("NAMES", "", []),
        ("PEERS", "maths=http://a:1/x?y=z,ledger=http://b", {"maths": "http://a:1/x?y=z", "ledger": "http://b"}),
        ("PEERS", '{"maths":"http://a"}', {"maths": "http://a"}),
        ("FOLDER", "elsewhere", Path("elsewhere")),
        ("TIMEOUT_S", "2.5", 2.5),
        ("TIMEOUT_S", "null", None),
    ],
)
def test_text_is_read_as_its_type(name: str, text: str, value: Any) -> None:
    assert getattr(load(**{f"PALAESTRA_AGENT_{name}": text}), name.lower()) == value
    assert getattr(load(overrides={name.lower(): text}), name.lower()) == value


def refused(**options: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        load(**options)
    return caught.value


def test_an_unknown_key_names_the_file_and_the_nearest_key(tmp_path: Path) -> None:
    path = write(tmp_path, "[agent]\nprot = 1")
    error = refused(file=path)
    assert error.message == f"{path}: unknown key `agent.prot`"
    assert (error.field, error.hint) == ("agent.prot", "did you mean `port`?")
    assert refused(file=write(tmp_path, "[agent.limits]\nmaxsteps = 1")).hint == "did you mean `limits.max_steps`?"
    assert refused(file=write(tmp_path, "[agent]\nzzz = 1")).hint.startswith("it knows host, port, ")
    assert refused(overrides={"hots": "x"}).hint == "did you mean `host`?"


def test_a_misspelt_variable_or_section_is_a_slip_and_strangers_are_not(tmp_path: Path) -> None:
    error = refused(PALAESTRA_AGENT_PROT="1")
    assert (error.message, error.hint) == (
        "unknown variable PALAESTRA_AGENT_PROT",
        "did you mean PALAESTRA_AGENT_PORT?",
    )
    assert load(PALAESTRA_AGENT_SOMETHING_ELSE="1", PALAESTRA_TOKEN="x", PATH="/bin") == Agent()
    error = refused(file=write(tmp_path, "[agnet]\nport = 1"))
    assert error.hint == "rename [agnet] to [agent]"


@pytest.mark.parametrize(
    ("line", "key", "shown", "expected"),
    [
        ('port = "high"', "port", "'high'", "a whole number"),
        ("port = 1.5", "port", "1.5", "a whole number"),
        ('rate = "fast"', "rate", "'fast'", "a number"),
        ("open = 1", "open", "1", "true or false"),
        ("host = 3", "host", "3", "text"),
        ('names = "a"', "names", "'a'", "a list"),
        ("names = [1]", "names[0]", "[1]", "text"),
        ('backend = "vllm"', "backend", "'vllm'", "one of embedded, upstream"),
        ("limits.max_steps = 0", "limits.max_steps", "0", "a whole number >= 1"),
        ("timeout_s = []", "timeout_s", "[]", "a number or nothing"),
    ],
)
def test_a_wrong_value_names_file_key_value_and_what_would_fit(
    tmp_path: Path, line: str, key: str, shown: str, expected: str
) -> None:
    path = write(tmp_path, f"[agent]\n{line}")
    error = refused(file=path)
    assert error.message == f"{path}: `agent.{key}` is {shown}, but must be {expected}"
    assert error.field == f"agent.{key}"


def test_a_wrong_variable_and_flag_name_themselves() -> None:
    error = refused(PALAESTRA_AGENT_PORT="high")
    assert error.message == "PALAESTRA_AGENT_PORT: `agent.port` is 'high', but must be a whole number"
    assert error.hint == "for example port = 8100"
    assert refused(overrides={"port": "high"}).message.startswith("flag: `agent.port` is 'high'")


def test_a_table_where_a_value_belongs_and_the_reverse(tmp_path: Path) -> None:
    assert "`agent.limits` must be a table" in refused(file=write(tmp_path, "[agent]\nlimits = 3")).message
    assert "must be a whole number" in refused(file=write(tmp_path, "[agent.port]\nx = 3")).message
    assert "[agent] must be a table" in refused(file=write(tmp_path, "agent = 3")).message


def test_a_needed_value_that_is_missing_says_how_to_give_it() -> None:
    with pytest.raises(BadRequest, match=r"`agent\.policy_url` needs a value") as caught:
        config.load(Needy, section="agent", environ={})
    assert "PALAESTRA_AGENT_POLICY_URL" in caught.value.hint


def test_what_the_record_refuses_is_told_with_its_source() -> None:
    error = refused(PALAESTRA_AGENT_RATE="-1")
    assert error.message == "[agent] rate must be 0 or more, not -1.0"
    assert error.hint == "`rate` comes from PALAESTRA_AGENT_RATE"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert "No such file" in refused(file=tmp_path / "none.toml").message
    assert "is not TOML" in refused(file=write(tmp_path, "port = ")).message


def test_show_prints_every_value_with_its_source_and_no_secret(tmp_path: Path) -> None:
    path = write(tmp_path, '[agent]\njudge_api_key = "sk-hidden"\n[agent.peers]\nmaths = "http://me:pw@host"')
    text = config.show(load(path, {"port": 9}))
    assert "sk-hidden" not in text and "pw@" not in text
    lines = {line.split(" = ")[0]: line for line in text.splitlines()}
    assert lines["port"].split() == ["port", "=", "9", "#", "flag"]
    assert lines["judge_api_key"].startswith('judge_api_key = "***"')
    assert lines["judge_api_key"].endswith(f"# {path}")
    assert lines["limits.tool_s"].endswith("# default")
    assert len(lines) == 12


def test_a_wrong_secret_is_not_quoted(tmp_path: Path) -> None:
    assert "1234" not in refused(file=write(tmp_path, "[agent]\njudge_api_key = 1234")).message


def test_a_record_that_was_not_loaded_can_be_shown() -> None:
    assert "port = 1" in config.show(Agent(port=1))


@given(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20))
def test_numbers_and_texts_survive_the_environment(port: int, timeout_s: float, host: str) -> None:
    loaded = load(PALAESTRA_AGENT_PORT=str(port), PALAESTRA_AGENT_TIMEOUT_S=repr(timeout_s), PALAESTRA_AGENT_HOST=host)
    assert (loaded.port, loaded.timeout_s, loaded.host) == (port, timeout_s, host)
