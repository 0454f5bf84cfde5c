"""Choosing a sandbox; compiled programs; the weak provider and the container, each where it can run."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gym_core.errors import BadRequest
from gym_core.sandbox import choose
from gym_core.sandbox.bubblewrap import Bubblewrap
from gym_core.sandbox.docker import IMAGE_VARIABLE, Docker, engine_answers
from gym_core.sandbox.faults import NoCompiler, SandboxUnavailable
from gym_core.sandbox.plain import Plain
from gym_core.sandbox.provider import Provider, Sandbox
from gym_core.sandbox.run import Ended, Limits, Program, Run, python_program
from gym_core.sandbox.zygote import Zygote

SHORT = Limits(cpu_s=1.0, wall_s=10.0, memory_mb=256, output_bytes=1 << 20)
CPP = "#include <iostream>\nint main() { long long n; std::cin >> n; std::cout << 2 * n << '\\n'; }"

needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


def image() -> str:
    """An image with Python on this machine: the one that is named, or any that has it. Skips where there is none."""
    try:
        engine_answers()
    except SandboxUnavailable as error:
        pytest.skip(error.message)
    named = os.environ.get(IMAGE_VARIABLE)
    if not named:
        pytest.skip(f"{IMAGE_VARIABLE} names no image with Python")
    return named


@pytest.fixture(params=["plain", "docker"])
def weaker(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    provider: Provider = Plain() if request.param == "plain" else Docker(image())
    with Sandbox(provider) as opened:
        yield opened


class Absent:
    """A provider that never works here."""

    name = "absent"
    strong = True

    def start(self) -> Zygote:
        raise SandboxUnavailable("not on this machine")


def test_other_providers_run_programs_within_limits_and_leave_nothing(weaker: Sandbox) -> None:
    def ran(source: str, stdin: bytes = b"") -> Run:
        return weaker.run(python_program(source), stdin, SHORT)

    assert ran("print(int(input()) + 1)", b"41").stdout == b"42\n"
    assert ran("raise SystemExit(2)").ended is Ended.CRASH
    assert ran("while True: pass").ended is Ended.TIME
    assert ran("x = bytearray(10**10)").ended is Ended.MEMORY
    assert ran("while True: print('x' * 9999)").ended is Ended.FLOOD
    ran("import os\nos.makedirs('d/' * 400)\nos.chmod('d', 0)\nopen('f', 'w').write('x')")
    assert ran("import os\nprint(os.listdir('.'))").stdout == b"[]\n"
    ran("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)")
    ran("import os\nos.kill(os.getppid(), 9)")
    assert ran("print(1)").stdout == b"1\n"


@needs_compiler
def test_the_weak_sandbox_compiles_in_its_own_folder() -> None:
    with Sandbox(Plain()) as sandbox:
        program = sandbox.compile(CPP)
        assert isinstance(program, Program), program
        assert sandbox.run(program, b"21", SHORT).stdout == b"42\n"


def test_a_daemon_of_the_weak_sandbox_is_dead_when_the_run_is_over() -> None:
    with Sandbox(Plain()) as sandbox:
        source = "import os, time\npid = os.fork()\nif pid == 0:\n    os.setsid()\n    time.sleep(600)\nprint(pid)"
        pid = int(sandbox.run(python_program(source), b"", SHORT).stdout)
        assert not Path(f"/proc/{pid}").exists()


def test_the_container_is_a_cage() -> None:
    with Sandbox(Docker(image())) as sandbox:
        attacks = (
            "import socket\nsocket.create_connection(('1.1.1.1', 53), 1)",
            "open('/x', 'w')",
            "open('/run/palaestra/x', 'w')",
            "import os\nos.kill(1, 9)\nos.setuid(0)",
            "open('/proc/1/environ').read()",
        )
        for attack in attacks:
            run = sandbox.run(python_program(attack + "\nprint('got through')"), b"", SHORT)
            assert (run.ended, run.stdout) == (Ended.CRASH, b""), attack


def test_the_weak_sandbox_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "palaestra.sandbox"), Sandbox(Plain()) as sandbox:
        assert (sandbox.name, sandbox.strong) == ("plain", False)
    assert "WITHOUT a sandbox" in caplog.text


# Choosing --------------------------------------------------------------------------------------------------------


@needs_bwrap
def test_the_strongest_that_works_is_opened() -> None:
    with choose.open_sandbox() as sandbox:
        assert (sandbox.name, sandbox.strong) == ("bubblewrap", True)


def test_a_weak_one_is_opened_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "PROVIDERS", {"absent": Absent, "plain": Plain})
    monkeypatch.delenv(choose.VARIABLE, raising=False)
    monkeypatch.delenv(choose.WEAK_VARIABLE, raising=False)
    with pytest.raises(SandboxUnavailable, match=r"absent: not on this machine; plain: too weak"):
        choose.open_sandbox()
    with choose.open_sandbox(allow_weak=True) as sandbox:
        assert sandbox.name == "plain"
    with choose.open_sandbox("plain") as sandbox:
        assert sandbox.name == "plain"
    monkeypatch.setenv(choose.WEAK_VARIABLE, "1")
    with choose.open_sandbox() as sandbox:
        assert sandbox.name == "plain"


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(BadRequest, match="bubblewrap, docker, plain, remote"):
        choose.open_sandbox("chroot")


def test_without_an_engine_docker_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxUnavailable, match="docker"):
        Docker().start()
    with pytest.raises(SandboxUnavailable, match="bubblewrap"):
        Bubblewrap().start()


# Compiled programs -----------------------------------------------------------------------------------------------


@needs_bwrap
@needs_compiler
def test_cpp_is_compiled_once_and_runs_within_limits() -> None:
    with Sandbox(Bubblewrap()) as sandbox:
        program = sandbox.compile(CPP)
        assert isinstance(program, Program) and sandbox.compile(CPP) is program
        assert sandbox.run(program, b"21", SHORT).stdout == b"42\n"
        bomb = sandbox.compile("int main() { volatile long n = 0; for (;;) n++; }")
        assert isinstance(bomb, Program) and sandbox.run(bomb, b"", SHORT).ended is Ended.TIME
        hoard = sandbox.compile("#include <vector>\nint main() { std::vector<char> v(1ll << 33); return v[5]; }")
        assert isinstance(hoard, Program) and sandbox.run(hoard, b"", SHORT).ended is Ended.MEMORY
        zero = sandbox.compile("int main(int c, char**) { return 5 / (c - 1); }")
        assert isinstance(zero, Program) and sandbox.run(zero, b"", SHORT).ended is Ended.CRASH


@needs_bwrap
@needs_compiler
def test_what_does_not_compile_is_told_with_the_compilers_words() -> None:
    with Sandbox(Bubblewrap()) as sandbox:
        refused = sandbox.compile("int main( {")
        assert isinstance(refused, Run) and b"error" in refused.stderr
        inclusion = sandbox.compile('#include "/etc/shadow"\nint main() {}')
        assert isinstance(inclusion, Run) and b"No such file" in inclusion.stderr


@needs_bwrap
def test_no_compiler_is_an_error_of_its_own() -> None:
    with Sandbox(Bubblewrap()) as sandbox, pytest.raises(NoCompiler, match="rust"):
        sandbox.compile("fn main() {}", "rust")


def test_the_engine_is_really_asked() -> None:
    if shutil.which("docker") is None:
        pytest.skip("there is no docker command")
    alive = subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    if alive:
        engine_answers()
    else:
        with pytest.raises(SandboxUnavailable):
            engine_answers()
