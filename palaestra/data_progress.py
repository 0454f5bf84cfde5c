"""Progress bars on stderr for what goes through files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def bytes_progress(path: Path, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of a file; what is yielded wants to hear how far it has been read."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(path.name, markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        bar = progress.add_task("read", total=path.stat().st_size if path.is_file() else None)
        yield lambda at: progress.update(bar, completed=at)


@contextmanager
def rows_progress(total: int, quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar over rows; what is yielded counts one more."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        bar = progress.add_task("rows", total=total)
        yield lambda: progress.advance(bar)
