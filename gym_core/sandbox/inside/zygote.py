"""The first process of a sandbox: waits for jobs, forks one process for each, and tells how it ended.

    parent → zygote   one packet of JSON {id, kind, argv, cpu_s, wall_s, …} with 4 descriptors: program, stdin, stdout,
                      stderr; or {kill: id}
    zygote → parent   {ready: pid, python: version}, then for each job {id, status, why, cpu_s, wall_s, rss_kb,
                      clean} | {id, fault}

Code, input and output pass by descriptor from the parent to the job; the zygote never reads a byte of them, so there is
nothing of one job in the memory from which the next is forked. With `private` each job is the first process of pid,
mount and IPC namespaces of its own: when it ends everything that it started is dead and its files are gone. Without
(a container that may make no namespaces, or none at all) the zygote kills and wipes what a job left behind.

`caged`: the container itself is the cage (`cage.py`). The zygote waits at the door of the sandbox service, says in its
first words what holds it, and comes back to the door when the service has hung up.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

import cage
import job as work
import kernel
import leftovers
import seccomp

STACK_BYTES = 256 << 20
"""Room for the stack of a job. The distance that the kernel keeps free is decided when this process starts."""

LOOK_EVERY_MS = 250

_PRIVATE = kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC


def main() -> None:
    """Serve until the parent hangs up. Returns in a job, once its process is ready to run the program."""
    descriptor, options = int(sys.argv[1]), json.loads(sys.argv[2])
    make_room_for_the_stack()
    kernel.hide_memory()
    kernel.adopt_orphans()
    if options.get("die_with_parent"):
        kernel.die_with_parent(signal.SIGKILL)
    caged = options.get("caged", False)
    if caged:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which the first process of a container never gets from inside
    control = None if caged else connect(descriptor, options.get("connect", ""))
    work.preload(options["writable"][0])
    kernel.gain_no_privileges()
    held = cage.facts() if caged else {}
    control = control or wait_at(options["connect"])
    if (instructions := seccomp.refusals()) is not None:
        kernel.install_filter(instructions)
    sys.argv[:] = ["main.py"]
    gc.collect()
    gc.freeze()
    program = None
    while control is not None and program is None:
        hello = {"ready": os.getpid(), "python": sys.version.split()[0], "cage": held}
        control.send(json.dumps(hello).encode())
        program = serve(control, options)
        control = wait_at(options["connect"]) if caged and program is None else None
    if program is not None:
        work.run(program)


def wait_at(path: str) -> socket.socket:
    """The door of the sandbox service, as soon as it is open."""
    while True:
        try:
            return connect(0, path)
        except OSError:
            select.poll().poll(LOOK_EVERY_MS)


def make_room_for_the_stack() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = STACK_BYTES if hard == resource.RLIM_INFINITY else min(STACK_BYTES, hard)
    if soft != wanted:
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
        os.execv(sys.executable, sys.orig_argv)


def connect(descriptor: int, path: str) -> socket.socket:
    """The parent's socket: inherited, or found at a path that it shares with a container."""
    if not path:
        return socket.socket(fileno=descriptor)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.connect(path)
    return control


def serve(control: socket.socket, options: dict[str, Any]) -> work.Program | None:
    """One job after another. Returns None when the parent hangs up; its program in the process that is to run it."""
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, 65536, 4)
        if not packet:
            leftovers.sweep(options)
            return None
        message = json.loads(packet)
        if "kill" in message:
            continue  # it ended a moment ago
        told = start(control, message, descriptors, options)
        if isinstance(told, work.Program):
            return told
        control.send(json.dumps({"id": message["id"], **told}).encode())


def start(
    control: socket.socket, message: dict[str, Any], descriptors: list[int], options: dict[str, Any]
) -> work.Program | dict[str, Any]:
    """Fork a job and wait for it: how it ended. In the job itself: its program."""
    began = time.monotonic()
    reader, writer = os.pipe()
    try:
        pid = kernel.fork_into(_PRIVATE) if options["private"] else os.fork()
    except OSError as error:
        for descriptor in (reader, writer, *descriptors):
            os.close(descriptor)
        return {"fault": f"no new process: {error}"}
    if pid == 0:
        os.close(reader)
        control.close()
        return work.prepare(message, descriptors, options, writer)
    for descriptor in (writer, *descriptors):
        os.close(descriptor)
    with open(reader, "rb") as report:
        said = report.read()
    if said != b"ready":
        os.waitpid(pid, 0)
        leftovers.sweep(options)
        return {"fault": said.decode(errors="replace") or "the job ended before it began"}
    return follow(control, pid, message, began, options)


def follow(
    control: socket.socket, pid: int, message: dict[str, Any], began: float, options: dict[str, Any]
) -> dict[str, Any]:
    """Wait for the end of a job, bring it about when its time is up or the parent asks for it."""
    watch = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    poll.register(control, select.POLLIN)
    why = "ended"
    while True:
        left = began + message["wall_s"] - time.monotonic()
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, left) * 1000)} if why == "ended" else {watch}
        if watch in ready:
            break
        if control.fileno() in ready:
            packet = control.recv(65536)
            if packet and json.loads(packet).get("kill") != message["id"]:
                continue
            why = "killed"
        else:
            why = "wall"
        signal.pidfd_send_signal(watch, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    os.close(watch)
    wall_s = time.monotonic() - began
    ended = {"status": status, "why": why, "cpu_s": usage.ru_utime + usage.ru_stime, "wall_s": wall_s}
    return {**ended, "rss_kb": usage.ru_maxrss, "clean": leftovers.sweep(options)}


if __name__ == "__main__":
    main()
