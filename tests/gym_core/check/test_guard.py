"""What the guard sees and holds back, in an interpreter of its own: addresses beyond this machine, the global dice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gym_core.check import guard
from gym_core.check.guard import is_here

BOOT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("palaestra_guard", {guard!r})
guard = importlib.util.module_from_spec(spec)
spec.loader.exec_module(guard)
guard.install({log!r}, {block!r}, {home!r})
import runpy
runpy.run_path({code!r})
"""


def sights(tmp_path: Path, code: str, block: bool = True) -> list[dict[str, Any]]:
    log, file = tmp_path / "log", tmp_path / "author.py"
    file.write_text(code)
    boot = BOOT.format(guard=guard.__file__, log=str(log), block=block, home=str(tmp_path), code=str(file))
    subprocess.run([sys.executable, "-c", boot], check=True, timeout=30)
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_connection_beyond_this_machine_is_refused_and_noted_once(tmp_path: Path) -> None:
    code = """
import socket
for _ in range(2):
    try:
        socket.create_connection(("192.0.2.7", 80), 5)
    except OSError as error:
        assert "beyond this machine" in str(error)
"""
    lookup = {"kind": "network", "what": "192.0.2.7", "place": "author.py:5"}
    assert sights(tmp_path, code) == [lookup]


def test_a_name_is_not_even_looked_up(tmp_path: Path) -> None:
    code = """
import urllib.request
try:
    urllib.request.urlopen("http://example.org/data.json", timeout=5)
except OSError:
    pass
"""
    (sight,) = sights(tmp_path, code)
    assert (sight["what"], sight["place"]) == ("example.org", "author.py:4")


def test_a_datagram_is_noted_and_this_machine_is_free(tmp_path: Path) -> None:
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname(), 5).close()
socket.getaddrinfo("localhost", 80)
one, other = socket.socketpair()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    udp.sendto(b"x", ("198.51.100.1", 53))
except OSError:
    pass
"""
    assert [sight["what"] for sight in sights(tmp_path, code)] == ["198.51.100.1:53"]


def test_what_is_declared_is_noted_and_not_held_back(tmp_path: Path) -> None:
    code = """
import socket
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    udp.connect(("192.0.2.7", 9))  # a datagram socket sends nothing when it connects
except OSError as error:
    assert "beyond this machine" not in str(error)
"""
    assert [sight["what"] for sight in sights(tmp_path, code, block=False)] == ["192.0.2.7:9"]


def test_the_global_generator_is_noted_by_name_and_line(tmp_path: Path) -> None:
    code = """
import random
from random import choice
random.Random(1).random()
random.seed(3)
choice("ab")
choice("ab")
"""
    seen = [(sight["what"], sight["place"]) for sight in sights(tmp_path, code)]
    assert seen == [("random.seed", "author.py:5"), ("random.choice", "author.py:6")]


def test_who_borrows_the_generator_and_gives_it_back_is_not_noted(tmp_path: Path) -> None:
    code = """
import random
state = random.getstate()
random.seed(1)
random.random()
random.setstate(state)
random.randint(1, 2)
"""
    assert [sight["what"] for sight in sights(tmp_path, code)] == ["random.randint"]


def test_the_generator_still_draws_what_it_would(tmp_path: Path) -> None:
    code = """
import random
random.seed(5)
assert random.random() == random.Random(5).random()
"""
    assert len(sights(tmp_path, code)) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "", "0.0.0.0", "/run/x.sock", "::1%lo"])
def test_this_machine(host: str) -> None:
    assert is_here(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "example.org", "8.8.8.8", "fe80::1%eth0", "localhost.example.org"])
def test_not_this_machine(host: str) -> None:
    assert not is_here(host)
