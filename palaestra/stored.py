"""Finding what is stored: a run or a rollout by its id, in one store or in every store under a folder of runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import click

from gym_core.errors import UnknownName
from gym_core.store import Store, Stored


class Place:
    """Where commands look: `--store`, else every `*/store.db` under `--runs-dir`."""

    def __init__(self, runs_dir: Path, store: str | None) -> None:
        self.runs_dir, self.store = runs_dir, store

    def __str__(self) -> str:
        return "the store" if self.store else f"the stores under {self.runs_dir}"

    def addresses(self) -> list[str]:
        """Addresses of the stores, in order of their folders; none where there is no folder."""
        if self.store:
            return [self.store]
        return [str(path) for path in sorted(self.runs_dir.glob("*/store.db"))]

    def some(self) -> list[str]:
        """As `addresses`. Raises `UnknownName` where there is none."""
        found = self.addresses()
        if not found:
            raise UnknownName(
                f"no store under {self.runs_dir}", field="runs_dir", hint="name one with --store PATH|URL"
            )
        return found

    @asynccontextmanager
    async def run(self, name: str) -> AsyncGenerator[tuple[Store, str], None]:
        """The store that has this run, and the run's id. A path to a run's folder or store is understood too.

        Raises `UnknownName`.
        """
        inside = _store_in(Path(name)) if name else None
        async with aclosing(_opened([str(inside)] if inside else self.addresses())) as stores:
            async for store in stores:
                known = await _run_ids(store)
                wanted = Path(name).resolve().name if inside else name
                if inside and wanted not in known and len(known) == 1:
                    wanted = known[0]
                if wanted in known:
                    yield store, wanted
                    return
                if inside:
                    told = ", ".join(known[:5])
                    raise UnknownName(
                        f"{name} holds {len(known)} runs: {told}", field="run_id", hint="name one of them"
                    )
        raise UnknownName(f"no run {name!r} in {self}", field="run_id", hint="`palaestra runs` lists them")

    async def rollout(self, name: str, blobs: bool = False) -> Stored | None:
        """The stored rollout of this id; None where no store has it."""
        async with aclosing(_opened(self.addresses())) as stores:
            async for store in stores:
                found = await store.get_stored(name, blobs=blobs)
                if found is not None:
                    return found
        return None


def _store_in(path: Path) -> Path | None:
    """The store that a path means: a run's folder, or the file itself."""
    if path.is_dir() and (path / "store.db").is_file():
        return path / "store.db"
    return path if path.suffix == ".db" and path.is_file() else None


async def _run_ids(store: Store) -> list[str]:
    known = {run.run_id: None for run in await store.runs()}
    return [*known, *(one.run_id for one in await store.played() if one.run_id not in known)]


async def _opened(addresses: list[str]) -> AsyncGenerator[Store, None]:
    for address in addresses:
        async with await Store.open(address, create=False) as store:
            yield store


def place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--runs-dir` and `--store`; the command gets a `place`."""
    import functools

    @functools.wraps(function)
    def command(runs_dir: Path, store: str | None, **options: Any) -> Any:
        return function(place=Place(runs_dir, store), **options)

    for option in (
        click.option(
            "--store",
            envvar="PALAESTRA_STORE",
            metavar="PATH|URL",
            help="one store: a file, or postgresql://user@host/db",
        ),
        click.option(
            "--runs-dir", default="runs", show_default=True, type=click.Path(path_type=Path), help="where runs are kept"
        ),
    ):
        command = option(command)
    return command


def printable(text: str) -> str:
    """Text of a model or a tool as a terminal may show it: control characters are written out, not obeyed."""
    return "".join(_visible(text))


def _visible(text: str) -> Iterator[str]:
    for character in text:
        code = ord(character)
        hidden = code < 32 or 127 <= code < 160 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
        yield f"\\x{code:02x}" if hidden and character not in "\n\t" else character
