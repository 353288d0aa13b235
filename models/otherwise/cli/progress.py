"""Show the progress of a command."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_SECONDS = 15.0
"""Seconds between two lines where standard error is not a terminal."""


@contextmanager
def shown(title: str) -> Iterator[Callable[[str, float], None]]:
    """Show a progress bar on standard error until the block ends; in a log file, print a line now and then.

    Args:
        title: Shown until a stage is reported.

    Yields:
        A function of the stage ("": unchanged) and the share done in [0, 1].
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
