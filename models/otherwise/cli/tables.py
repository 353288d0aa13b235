"""Print tables on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def print_table(table: Table) -> None:
    """Print a table in its full width, so that no path is broken, neither in a pipe nor in a narrow window."""
    from rich.console import Console
    from rich.measure import Measurement

    usual = Console()
    unbounded = usual.options.update(width=10_000, max_width=10_000)
    Console(width=max(usual.width, Measurement.get(usual, unbounded, table).maximum)).print(table)
