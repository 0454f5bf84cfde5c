"""What the processes of a checked environment may not do unseen: reach beyond this machine, draw from the global
generator.

Loaded by its path from a `sitecustomize` in every interpreter that the gate starts, before anything else is imported:
so it stands on the standard library alone. What it sees goes line by line into a log that the gate reads:

    {"kind": "network", "what": "example.org:443", "place": "environment.py:12"}

A connection is refused unless the manifest declares `network = "outbound"`. Sockets of other programs that the
environment starts, and of libraries that bypass Python, are not seen. Who needs the global generator for a library may
borrow it: draws between `random.getstate()` and `random.setstate()` are not noted.
"""

from __future__ import annotations

import errno
import functools
import ipaddress
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_HOME = str(Path(__file__).resolve().parent.parent)
_STDLIB = str(Path(os.__file__).parent)
_CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})


def install(log: str, block: bool, home: str) -> None:
    """Watch from now on the environment whose code lies at `home`; cannot be undone in this process."""
    watch = Watch(log, block, home)
    sys.addaudithook(watch.audit)
    for name in dir(random):
        method = getattr(random, name)
        if getattr(method, "__self__", None) is getattr(random, "_inst", None):
            setattr(random, name, watch.drawing(name, method))


class Watch:
    """Notes each sight once, in a file that several processes append to."""

    def __init__(self, log: str, block: bool, home: str) -> None:
        self._file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._block = block
        self._home = home
        self._borrowed = False
        self._seen: set[tuple[str, str]] = set()

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """The interpreter's audit hook: raises OSError for an address beyond this machine."""
        if event in _CONNECTS:
            address = args[1]
            host, what = (str(address[0]), f"{address[0]}:{address[1]}") if isinstance(address, tuple) else ("", "")
        elif event in _LOOKUPS:
            host = args[0].decode("ascii", "replace") if isinstance(args[0], bytes) else str(args[0] or "")
            what = host
        else:
            return
        if is_here(host):
            return
        self._note("network", what, _place(sys._getframe(1)))
        if self._block:
            raise OSError(errno.ENETUNREACH, f"{what} is beyond this machine: the quality gate holds the network back")

    def drawing(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """A function of the `random` module that tells who calls it."""

        @functools.wraps(method)
        def draw(*args: Any, **kwargs: Any) -> Any:
            caller = sys._getframe(1)
            if name in ("getstate", "setstate"):
                self._borrowed = name == "getstate"
            elif not self._borrowed and self._is_authors(caller.f_code.co_filename):
                self._note("random", f"random.{name}", _place(caller))
            return method(*args, **kwargs)

        return draw

    def _is_authors(self, file: str) -> bool:
        """Whether code is the environment's: of its folder, or at least no library's and not ours."""
        if file.startswith(self._home):
            return True
        return not file.startswith((_HOME, _STDLIB)) and "-packages" not in file

    def _note(self, kind: str, what: str, place: str) -> None:
        if (kind, what) not in self._seen:
            self._seen.add((kind, what))
            os.write(self._file, json.dumps({"kind": kind, "what": what, "place": place}).encode() + b"\n")


def is_here(host: str) -> bool:
    """Whether an address is this machine's own, or no address of the internet at all."""
    if host in ("", "localhost", "None") or host.startswith("/"):
        return True
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return found.is_loopback or found.is_unspecified


def _place(frame: FrameType | None) -> str:
    """File and line of the nearest frame that is neither the library's nor ours."""
    first = frame
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((_STDLIB, _HOME, "<")):
            return f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return f"{Path(first.f_code.co_filename).name}:{first.f_lineno}" if first else ""
