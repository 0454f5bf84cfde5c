"""What is wrong with the input or the world: exit code 2, one error in one line, nothing half-done, nobody left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
GOOD = {"responses_create_params": {"input": "2+2?"}, "expected_answer": "4"}
NOBODY = "http://127.0.0.1:9/v1"


def palaestra(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, run in `folder`; nothing that it started may outlive it."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "PALAESTRA_TOKEN": "", "OMP_NUM_THREADS": "1", **environ}
    shown = subprocess.run(
        [sys.executable, "-m", "palaestra", *arguments],
        cwd=folder, env=settings, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    left = [one for one in psutil.process_iter(["cmdline", "environ"]) if _ours(one, folder)]
    _, alive = psutil.wait_procs(left, timeout=10)
    assert alive == [], "a service outlived the command that started it"
    return shown


def _ours(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder) and "palaestra" in process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


def refused(shown: subprocess.CompletedProcess[str], *said: str) -> None:
    assert shown.returncode == 2, shown.stderr
    assert "Traceback" not in shown.stderr and '"level"' not in shown.stderr
    errors = [line for line in shown.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, shown.stderr
    for text in said:
        assert text in shown.stderr
    assert shown.stdout == ""


def rows(folder: Path, *given: object) -> str:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in given]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    return "rows.jsonl"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from model.checkpoint import save_pretrained
    from model.config import HybridConfig
    from model.stack import HybridModel
    from model.tokenizer import Tokenizer

    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    tokenizer = Tokenizer.train([], 300)
    save_pretrained(HybridModel(HybridConfig.tiny(tokenizer.vocab_size), seed=0), folder, also=tokenizer.save)
    return folder


@pytest.fixture
def other_shape(checkpoint: Path) -> Iterator[Path]:
    """The same checkpoint while its config says another width."""
    file = checkpoint / "config.json"
    before = file.read_text()
    file.write_text(json.dumps({**json.loads(before), "hidden_size": 2 * json.loads(before)["hidden_size"]}))
    yield checkpoint
    file.write_text(before)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("environment", "given", "said"),
    [
        ("mth", [GOOD], ["no environment is called 'mth'", "math"]),
        ("math", [GOOD, "", '{"a": '], ["rows.jsonl, line 3", "not JSON"]),
        ("math", [GOOD, {"expected_answer": "4"}], ["line 2", "[responses_create_params]"]),
        ("math", [{**GOOD, "responses_create_params": {"input": "x", "tools": [1]}}], ["line 1", "tools[0]"]),
        ("math", [GOOD, "", {**GOOD, "expected_answer": r"\frac{1}{"}], ["line 3", "[expected_answer]", "frac"]),
        ("instruction_following", [{**GOOD, "instruction_id_list": [], "kwargs": []}],
         ["line 1", "[instruction_id_list]"]),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_played(tmp_path: Path, environment: str, given: list[object], said: list[str]) -> None:
    shown = palaestra(
        tmp_path, "run", "--env", environment, "--input", rows(tmp_path, *given), "--output", "out.jsonl",
        "--policy", NOBODY,
    )  # fmt: skip
    refused(shown, *said)
    assert not (tmp_path / "out.jsonl").exists()


def test_an_output_that_cannot_be_written_is_refused_before_anything_starts(tmp_path: Path) -> None:
    ask = ["run", "--env", "math", "--input", rows(tmp_path, GOOD), "--policy", NOBODY]
    refused(palaestra(tmp_path, *ask, "--output", "nowhere/out.jsonl"), "nowhere", "[output]")
    (tmp_path / "notes.txt").write_text("mine")
    refused(palaestra(tmp_path, *ask, "--output", "notes.txt"), "does not hold rollouts")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_bad_rows_leave_an_earlier_output_alone_even_with_fresh(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("kept\n")
    bad = {**GOOD, "expected_answer": ""}
    shown = palaestra(
        tmp_path, "run", "--env", "math", "--input", rows(tmp_path, bad), "--output", "out.jsonl", "--fresh",
        "--policy", NOBODY,
    )  # fmt: skip
    refused(shown, "line 1", "[expected_answer]")
    assert (tmp_path / "out.jsonl").read_text() == "kept\n"


def test_a_policy_that_is_down_fails_the_rollouts_and_says_so(tmp_path: Path) -> None:
    ask = ["run", "--env", "math", "--input", rows(tmp_path, GOOD), "--output", "out.jsonl", "--policy", NOBODY]
    shown = palaestra(tmp_path, *ask, "--json", "--repeats", "2")
    assert shown.returncode == 3 and "Traceback" not in shown.stderr and '"level"' not in shown.stderr
    summary = json.loads(shown.stdout)
    assert summary["outcomes"] == {"policy_error": 2} and summary["mean_reward"] is None
    assert "nobody answers" in summary["errors"][0] and "pass@1" not in summary
    kept = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["reward"] for row in kept] == [None, None]


@pytest.mark.parametrize("ask", [["serve", "--model"], ["chat", "-m", "hi"], ["eval"]])
def test_a_checkpoint_of_another_shape(tmp_path: Path, other_shape: Path, ask: list[str]) -> None:
    if ask == ["eval"]:
        record = {"recipe": {"name": "t", "environments": {"math": {}}}, "name": "before", "run_id": "r"}
        (other_shape / "evaluation.json").write_text(json.dumps(record))
    refused(palaestra(tmp_path, *ask, str(other_shape)), "does not fit the model", "expected", "[checkpoint]")
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_checkpoint_has_another_shape_is_not_resumed(tmp_path: Path, other_shape: Path) -> None:
    import shutil

    run = tmp_path / "runs" / "r"
    shutil.copytree(other_shape, run / "before")
    (run / "tokenizer").mkdir()
    shutil.copy(other_shape / "tokenizer.json", run / "tokenizer")
    (run / "recipe.json").write_text(json.dumps({"name": "t", "environments": {"math": {"demonstrations": 4}}}))
    (run / "demonstrations.jsonl").write_text("")
    shown = palaestra(tmp_path, "train", "--resume", "runs/r", "--local")
    assert shown.returncode == 2 and "Traceback" not in shown.stderr, shown.stderr
    assert "does not fit the model" in shown.stderr


@pytest.mark.parametrize("ask", [["env", "serve", "math"], ["agent", "serve", "--policy", "http://127.0.0.1:9"]])
def test_a_port_in_use(tmp_path: Path, taken_port: int, ask: list[str]) -> None:
    refused(palaestra(tmp_path, *ask, "--port", str(taken_port)), f"port {taken_port}", "in use")


def test_a_port_that_is_none(tmp_path: Path) -> None:
    shown = palaestra(tmp_path, "env", "serve", "math", "--port", "99999")
    assert shown.returncode == 2 and "99999" in shown.stderr and shown.stdout == ""


def test_beyond_loopback_a_token_is_asked_for(tmp_path: Path) -> None:
    refused(palaestra(tmp_path, "env", "serve", "math", "--host", "0.0.0.0"), "without a token", "PALAESTRA_TOKEN")


def test_a_service_ends_when_told_to(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "palaestra", "env", "serve", "math"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout is not None
        assert json.loads(service.stdout.readline())["pid"] == service.pid
        children = psutil.Process(service.pid).children(recursive=True)
        service.send_signal(signal.SIGTERM)
        assert service.wait(10) == 0
        assert psutil.wait_procs(children, timeout=5)[1] == []
