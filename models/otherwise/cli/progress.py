"""One way to show how far a command is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def shown(title: str) -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error, which goes when the work is done.

    Args:
        title: Shown until the work names a stage.

    Yields:
        What to tell the stage ("": as it was) and the share done.
    """
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def tell(stage: str, done: float) -> None:
            bar.update(task, description=stage or title, completed=done)

        yield tell
