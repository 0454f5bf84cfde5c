"""The default sandbox: what programs may do, what they must not, and that the next one notices nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gym_core.sandbox.bubblewrap import Bubblewrap
from gym_core.sandbox.faults import SandboxFault
from gym_core.sandbox.provider import Sandbox
from gym_core.sandbox.run import Ended, Limits, Run, python_program

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")

USUAL = Limits(cpu_s=1.0, wall_s=10.0, memory_mb=256, output_bytes=1 << 20)
SHORT = replace(USUAL, wall_s=1.5)
"""For programs that would wait for ever."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Bubblewrap()) as opened:
        yield opened


def ran(sandbox: Sandbox, source: str, stdin: bytes = b"", limits: Limits = USUAL) -> Run:
    return sandbox.run(python_program(textwrap.dedent(source)), stdin, limits)


def still_works(sandbox: Sandbox) -> bool:
    return ran(sandbox, "print(int(input()) + 1)", b"41\n").stdout == b"42\n"


# It is a real Python ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "stdin", "stdout"),
    [
        ("n = 1\ndef up():\n    global n\n    n += 1\nup()\nprint(n)", b"", b"2\n"),
        ("if __name__ == '__main__':\n    print(input()[::-1])", b"abc\n", b"cba\n"),
        ("import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))", b"1 2\n3", b"6\n"),
        ("import sys\nfor line in sys.stdin:\n    print(len(line.rstrip()))", b"ab\nc\n", b"2\n1\n"),
        ("print(open(0).read().upper(), end='')", b"hi", b"HI"),
        ("print(open('/dev/stdin').read())", b"hi", b"hi\n"),
        ("import sys\nsys.stdout.buffer.write(b'\\xff\\xfe')", b"", b"\xff\xfe"),
        (
            "import sys\nsys.setrecursionlimit(10**6)\ndef d(n):\n    return n and 1 + d(n - 1)\nprint(d(60000))",
            b"",
            b"60000\n",
        ),
        (
            "import sys, functools\nsys.setrecursionlimit(10**6)\n@functools.lru_cache(None)\ndef d(n):\n"
            "    return n and 1 + d(n - 1)\nprint(d(30000))",
            b"",
            b"30000\n",
        ),
        (
            "import threading\nt = [threading.Thread(target=print, args=(i,)) for i in range(4)]\n"
            "for x in t:\n    x.start()\n    x.join()",
            b"",
            b"0\n1\n2\n3\n",
        ),
        ("import threading\nthreading.Timer(0.05, print, ['late']).start()", b"", b"late\n"),
        ("import atexit\natexit.register(print, 'bye')\nprint('hi')", b"", b"hi\nbye\n"),
        ("import sys, os\nprint(sys.argv, __file__, os.getcwd())", b"", b"['main.py'] main.py /tmp\n"),
        ("print('done')\nexit()", b"", b"done\n"),
        ("import __main__\nx = 5\nprint(__main__.x)", b"", b"5\n"),
        ("open('note', 'w').write('mine')\nprint(open('note').read())", b"", b"mine\n"),
    ],
)
def test_programs_run_as_they_would_by_hand(sandbox: Sandbox, source: str, stdin: bytes, stdout: bytes) -> None:
    run = ran(sandbox, source, stdin)
    assert (run.ended, run.stdout) == (Ended.OK, stdout), run.stderr


@pytest.mark.parametrize(
    ("source", "ended"),
    [
        ("import sys\nprint(1)\nsys.exit(3)", Ended.CRASH),
        ("raise ValueError('no')", Ended.CRASH),
        ("print(1", Ended.CRASH),
        ("import os\nos.abort()", Ended.CRASH),
        ("import ctypes\nctypes.string_at(0)", Ended.CRASH),
        ("input()", Ended.CRASH),
        ("def f():\n    f()\nf()", Ended.CRASH),
        ("while True: pass", Ended.TIME),
        ("try:\n    while True: pass\nexcept BaseException: pass\nwhile True: pass", Ended.TIME),
        ("import time\ntime.sleep(1000)", Ended.TIME),
        ("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nsignal.pause()", Ended.TIME),
        ("x = bytearray(10 * 2**30)", Ended.MEMORY),
        ("x = []\nwhile True: x.append(bytearray(2**20))", Ended.MEMORY),
        ("while True: print('x' * 1000)", Ended.FLOOD),
        ("import sys\nwhile True: sys.stderr.write('x' * 100000)", Ended.FLOOD),
    ],
)
def test_every_way_to_end_has_its_name(sandbox: Sandbox, source: str, ended: Ended) -> None:
    assert ran(sandbox, source, limits=SHORT if "sleep" in source or "pause" in source else USUAL).ended is ended
    assert still_works(sandbox)


def test_an_error_shows_the_program_and_nothing_of_the_sandbox(sandbox: Sandbox) -> None:
    stderr = ran(sandbox, "def f():\n    return 1 // 0\nf()").stderr.decode()
    assert 'File "main.py", line 2, in f' in stderr and "ZeroDivisionError" in stderr
    assert "/sandbox" not in stderr


def test_output_is_kept_up_to_the_limit_and_not_beyond(sandbox: Sandbox) -> None:
    exact = ran(sandbox, "import sys\nsys.stdout.write('x' * 2**20)")
    assert (exact.ended, len(exact.stdout)) == (Ended.OK, 2**20)
    over = ran(sandbox, "import sys\nsys.stdout.write('x' * (2**20 + 1))")
    assert over.ended is Ended.FLOOD and len(over.stdout) <= 2**20


def test_a_gigabyte_of_output_costs_no_memory_here(sandbox: Sandbox) -> None:
    run = ran(sandbox, "import os\nx = b'x' * 2**20\nfor _ in range(1024): os.write(1, x)")
    assert run.ended is Ended.FLOOD and len(run.stdout) <= 2**20


def test_large_input_arrives_whole(sandbox: Sandbox) -> None:
    run = ran(sandbox, "import sys\nprint(len(sys.stdin.buffer.read()))", b"x" * (8 << 20))
    assert run.stdout == b"8388608\n"


def test_output_that_was_written_before_a_crash_is_told(sandbox: Sandbox) -> None:
    run = ran(sandbox, "print('half', flush=True)\nraise SystemExit(1)")
    assert (run.ended, run.stdout, run.status) == (Ended.CRASH, b"half\n", 1)


# It is a cage ----------------------------------------------------------------------------------------------------

REFUSED = {
    "network": "import socket\nsocket.create_connection(('1.1.1.1', 53), 1)",
    "loopback of the host": "import socket\nsocket.create_connection(('127.0.0.1', 22), 1)",
    "write the system": "open('/usr/x', 'w')",
    "write the root": "open('/x', 'w')",
    "write the harness": "open('/sandbox/job.py', 'a')",
    "write devices": "open('/dev/x', 'w')",
    "the host's passwords": "open('/etc/shadow').read()",
    "the host's files": "import os\nos.listdir('/work' if os.path.exists('/work') else '/home')",
    "the docker socket": "open('/var/run/docker.sock')",
    "kernel settings": "open('/proc/sys/kernel/core_pattern', 'w').write('x')",
    "another user": "import os\nos.setuid(0)",
    "a user namespace": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "a mount": "import ctypes\nassert ctypes.CDLL(None).mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None) == 0",
    "ptrace of pid 1": "import ctypes\nassert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0",
    "other memory": "import ctypes\nassert ctypes.CDLL(None).process_vm_readv(2, 0, 0, 0, 0, 0) == 0",
    "shared memory": "import ctypes\nassert ctypes.CDLL(None).shmget(1, 4096, 0o1666) != -1",
    "a key": "import ctypes\nassert ctypes.CDLL(None).syscall(248, b'user', b'a', b'b', 1, -4) != -1",
    "bpf": "import ctypes\nassert ctypes.CDLL(None).syscall(321, 0, 0, 0) == 0",
    "a rise of its limits": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (100, 100))",
    "the kernel's memory": "open('/proc/kcore', 'rb').read(1)",
}


@pytest.mark.parametrize("attack", REFUSED)
def test_what_a_program_must_not_do_is_refused(sandbox: Sandbox, attack: str) -> None:
    run = ran(sandbox, REFUSED[attack] + "\nprint('got through')")
    assert run.ended is Ended.CRASH and run.stdout == b"", (attack, run)


def test_a_program_has_no_rights_and_no_neighbours(sandbox: Sandbox) -> None:
    run = ran(
        sandbox,
        """
        import os
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(os.getpid(), sorted(int(n) for n in os.listdir("/proc") if n.isdigit()))
        print(int(status["CapEff"], 16), int(status["CapPrm"], 16), end=" ")
        print(int(status["NoNewPrivs"]), int(status["Seccomp"]))
        print(sorted(os.environ), sorted(int(n) for n in os.listdir("/proc/self/fd"))[:3], os.listdir("/tmp"))
        """,
    )
    assert run.stdout.decode().splitlines() == [
        "1 [1]",
        "0 0 1 2",
        "['HOME', 'LANG', 'PATH', 'PYTHONHASHSEED', 'TMPDIR'] [0, 1, 2] []",
    ]


def test_a_program_has_its_three_streams_and_no_other_descriptor(sandbox: Sandbox) -> None:
    run = ran(
        sandbox,
        """
        import os
        open_ones = []
        for number in range(4096):
            try:
                os.fstat(number)
                open_ones.append(number)
            except OSError:
                pass
        print(open_ones)
        """,
    )
    assert run.stdout == b"[0, 1, 2]\n"


def test_frames_and_heap_hold_nothing_of_other_jobs(sandbox: Sandbox) -> None:
    ran(sandbox, "print('the answer is swordfish')", b"swordfish")
    run = ran(
        sandbox,
        """
        import gc, sys
        needle = "sword" + "fish"
        found = []
        def holds(thing):
            if isinstance(thing, bytes):
                return needle.encode() in thing
            return isinstance(thing, str) and thing is not needle and needle in thing
        frame = sys._getframe()
        while frame:
            found += [k for k, v in {**frame.f_locals, **frame.f_globals}.items() if holds(v)]
            frame = frame.f_back
        for thing in gc.get_objects():
            if isinstance(thing, (dict, list, tuple, set)):
                found += [type(v) for v in list(thing.values() if isinstance(thing, dict) else thing) if holds(v)]
        memory = open("/proc/self/mem", "rb", 0)
        for line in open("/proc/self/maps"):
            if " rw-p " in line:
                low, high = (int(part, 16) for part in line.split()[0].split("-"))
                memory.seek(low)
                data = memory.read(min(high - low, 1 << 26)) if high - low < 1 << 26 else b""
                if b"the answer is " + needle.encode() in data:
                    found.append(line)
        print(found)
        """,
        limits=Limits(cpu_s=5, memory_mb=512),
    )
    assert (run.stdout, run.stderr) == (b"[]\n", b"")


MESSES = {
    "a daemon": """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while True: time.sleep(1)
        """,
    "a fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "a thread bomb": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()",
    "a kill of everyone": "import os\nos.kill(-1, 9)",
    "a kill of the parent": "import os\nos.kill(os.getppid(), 9)",
    "a kill of the first process": "import os\nos.kill(1, 9)\nos.kill(1, 19)",
    "a full disk": "open('a', 'wb').write(bytes(2**20) * 1000)",
    "a full disk in pieces": "i = 0\nwhile True:\n    open(f'{i}', 'wb').write(bytes(2**20))\n    i += 1",
    "no more inodes": "i = 0\nwhile True:\n    open(f'{i}', 'w')\n    i += 1",
    "folders without end": "import os\nwhile True:\n    os.mkdir('d')\n    os.chdir('d')",
    "closed streams": "import os\nos.closerange(0, 4096)",
    "stopped": "import os\nos.kill(os.getpid(), 19)",
    "a stolen stdin": "import os\nos.ftruncate(0, 0)",
    "a nice value": "import os\nos.setpriority(os.PRIO_USER, 0, 19)\nos.setpriority(os.PRIO_PROCESS, 1, 19)",
    "random bytes": "import os\nos.write(1, os.urandom(1000))",
    "shared memory": "open('/dev/shm/x', 'wb').write(bytes(2**20))",
    "exec": "import os\nos.execv('/bin/sh', ['sh', '-c', 'kill -9 -1; sleep 100 & exit 0'])",
    "a subreaper": "import ctypes, os, time\nctypes.CDLL(None).prctl(36, 1)\nif os.fork() == 0: time.sleep(99)",
}


@pytest.mark.parametrize("mess", MESSES)
def test_what_a_program_leaves_behind_is_gone_before_the_next(sandbox: Sandbox, mess: str) -> None:
    before = processes_below(sandbox)
    ran(sandbox, MESSES[mess], b"stdin", SHORT)
    run = ran(sandbox, "import os\nprint(os.listdir('/tmp'), os.listdir('/dev/shm'), input())", b"fresh\n")
    assert run.stdout == b"[] [] fresh\n", run
    assert processes_below(sandbox) == before


def processes_below(sandbox: Sandbox) -> set[int]:
    """Process ids of a sandbox, from outside."""
    assert sandbox._zygote is not None
    found, todo = set(), [sandbox._zygote.process.pid]
    while todo:
        pid = todo.pop()
        found.add(pid)
        for thread in Path(f"/proc/{pid}/task").iterdir():
            todo += map(int, (thread / "children").read_text().split())
    return found


def test_memory_of_all_processes_together_is_bounded(sandbox: Sandbox) -> None:
    zygote = sandbox._zygote
    if zygote is None or not zygote.group.bounds_memory:  # type: ignore[attr-defined]
        pytest.skip("this user may make no memory control group")
    run = ran(
        sandbox,
        """
        import os, time
        for _ in range(8):
            if os.fork() == 0:
                hoard = bytearray(os.urandom(1)) * (180 << 20)
                time.sleep(0.5)
                os._exit(0)
        codes = [os.wait()[1] for _ in range(8)]
        print(sum(map(bool, codes)) > 0)
        """,
        limits=Limits(cpu_s=5, wall_s=10, memory_mb=256),
    )
    assert run.stdout in (b"True\n", b"") and run.ended in (Ended.OK, Ended.MEMORY)
    assert still_works(sandbox)


# It fails as an error, never as a verdict ------------------------------------------------------------------------


def test_a_killed_sandbox_is_a_fault_and_the_next_run_has_a_new_one() -> None:
    with Sandbox(Bubblewrap()) as sandbox:
        assert sandbox._zygote is not None
        for pid in processes_below(sandbox) - {sandbox._zygote.process.pid}:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(SandboxFault):
            ran(sandbox, "print(1)")
        assert still_works(sandbox)


def test_the_sandbox_dies_with_the_process_that_opened_it() -> None:
    code = """
        import os, signal
        from gym_core.sandbox.bubblewrap import Bubblewrap
        from gym_core.sandbox.provider import Sandbox
        sandbox = Sandbox(Bubblewrap())
        sandbox.python
        pid = sandbox._zygote.process.pid
        print(pid, open(f"/proc/{pid}/task/{pid}/children").read(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    pids = [int(word) for word in done.stdout.split()]
    assert done.returncode == -signal.SIGKILL and len(pids) == 2, done.stderr
    for pid in pids:
        try:
            watch = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            import select

            assert select.select([watch], [], [], 10)[0], f"process {pid} lives on"
        finally:
            os.close(watch)


def test_limits_refuse_what_cannot_be() -> None:
    for wrong in ({"cpu_s": 0}, {"cpu_s": float("inf")}, {"wall_s": -1}, {"memory_mb": 1}, {"output_bytes": 0}):
        with pytest.raises(ValueError):
            Limits(**wrong)  # type: ignore[arg-type]
