"""Make the virtual environments of the foreign packages that tests and examples talk to: `make peers`.

Each peer gets one of its own, so that no package of theirs is ever beside ours; a test that wants a peer which was not
made is skipped and says so. Only the standard library is used.

    python scripts/peers.py                 # all of them: minutes, and about 3 GB
    python scripts/peers.py nemo-gym trl    # these
    python scripts/peers.py --list

They lie in `$PALAESTRA_PEERS`, else in `~/.cache/palaestra/peers`, one folder each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """What is installed, and the interpreter that it wants.

    `overlook_python`: its published floor is a patch release that few machines have; it runs on the minor version.
    `beside_us`: it also sees the packages of the interpreter that runs this script (torch is large).
    """

    packages: tuple[str, ...]
    python: tuple[int, int]
    overlook_python: bool = False
    beside_us: bool = False


PEERS = {
    "nemo-gym": Peer(("nemo-gym==0.7.0",), (3, 13), overlook_python=True),
    "nemo-gym-0.4": Peer(("nemo-gym==0.4.0",), (3, 12)),
    "verifiers": Peer(("verifiers==0.4.0", "uv"), (3, 11)),
    "trl": Peer(("trl==1.16.0",), (3, 11), beside_us=True),
}
DONE = ".made"


def folder() -> Path:
    """Where the peers lie."""
    return Path(os.environ.get("PALAESTRA_PEERS") or Path.home() / ".cache" / "palaestra" / "peers")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(PEERS)}; all of them without a name")
    parser.add_argument("--list", action="store_true", help="say which are made")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in PEERS]
    if unknown:
        print(f"error: no peer {unknown[0]!r}; there are {', '.join(PEERS)}", file=sys.stderr)
        return 2
    if options.list:
        for name in PEERS:
            print(f"{name:14} {'made' if made(name) else 'not made'}  {folder() / name}")
        return 0
    return max([_make(name, PEERS[name]) for name in options.names or PEERS])


def made(name: str) -> bool:
    """Whether this peer is there, with the packages that are asked for now."""
    note = folder() / name / DONE
    return note.exists() and note.read_text().split() == list(PEERS[name].packages)


def _make(name: str, peer: Peer) -> int:
    if made(name):
        print(f"{name} is made already")
        return 0
    python = interpreter(peer.python)
    if python is None:
        print(f"error: {name} needs Python {peer.python[0]}.{peer.python[1]}, which was not found", file=sys.stderr)
        return 2
    place = folder() / name
    shutil.rmtree(place, ignore_errors=True)
    print(f"making {name} in {place}", flush=True)
    _run([python, "-m", "venv", str(place)])
    own = str(place / "bin" / "python")
    if peer.beside_us:
        _see_ours(own)
    install = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--progress-bar", "off"]
    if peer.overlook_python:
        install.append("--ignore-requires-python")
    code = _run([*install, *peer.packages])
    if code == 0:
        (place / DONE).write_text("\n".join(peer.packages))
    return code


def interpreter(wanted: tuple[int, int]) -> str | None:
    """A Python of this minor version: the running one, one on the PATH, or one that pyenv keeps."""
    if sys.version_info[:2] == wanted:
        return sys.executable
    name = f"python{wanted[0]}.{wanted[1]}"
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{wanted[0]}.{wanted[1]}.*/bin/{name}"))
    found = shutil.which(name)
    candidates = [*([found] if found else []), *map(str, reversed(kept))]
    # A pyenv shim is on the PATH for versions that are not switched on: only one that runs counts.
    return next((one for one in candidates if _run([one, "-c", ""], quiet=True) == 0), None)


def _see_ours(python: str) -> None:
    """Let this environment find the packages of the running one, after its own."""
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    (site / "zz_ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")


def _run(command: list[str], *, quiet: bool = False) -> int:
    stream = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, check=False, stdout=stream, stderr=stream).returncode


if __name__ == "__main__":
    sys.exit(main())
