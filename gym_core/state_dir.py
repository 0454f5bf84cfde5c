"""The folder in which an environment server keeps what must outlive it: its secret, and snapshots of sessions.

state_dir/secret                  signs session ids, made once, readable by its owner alone
          <worker>/lock           held while that worker runs
          <worker>/<environment>/<uuid>.session
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gym_core.errors import BadRequest, Conflict

FIRST_WORKER = "w0"
"""Name of a server that is alone: it must find its own sessions again."""


def read_secret(folder: Path) -> str:
    """The secret of this folder, made where there is none. Raises `BadRequest` where the folder cannot be used."""
    path = folder / "secret"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            partial = folder / f".secret-{secrets.token_hex(4)}"
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
            try:
                os.link(partial, path)  # whole, and only one of those who begin at the same time
            except FileExistsError:
                pass
            finally:
                partial.unlink()
        return path.read_text()
    except OSError as error:
        raise BadRequest(f"cannot keep state in {folder}: {error.strerror}", field="state_dir") from None


@contextmanager
def alone(folder: Path, worker: str) -> Iterator[None]:
    """Two servers must not share sessions. Raises `Conflict` for the second of the same folder and worker."""
    (folder / worker).mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / worker / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another server keeps its sessions in {folder} as worker {worker!r}",
                field="state_dir",
                hint="give this one a folder of its own, or stop the other",
            ) from None
        yield
