"""One way to show how far a command is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_SECONDS = 15.0
"""Between two lines where standard error is no terminal."""


@contextmanager
def shown(title: str) -> Iterator[Callable[[str, float], None]]:
    """Show a bar on standard error, which goes when the work is done; in a log file, a line now and then.

    Args:
        title: Shown until the work names a stage.

    Yields:
        What to tell the stage ("": as it was) and the share done.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _log(title)
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def advance(stage: str, done: float) -> None:
            bar.update(task, description=stage or title, completed=done)

        yield advance


def _log(title: str) -> Callable[[str, float], None]:
    last = time.monotonic()

    def advance(stage: str, done: float) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_SECONDS:
            last = time.monotonic()
            print(f"{stage or title}: {100 * done:.0f} %", file=sys.stderr, flush=True)

    return advance
