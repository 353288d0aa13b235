"""``otherwise benchmark``: measure, and print JSON."""

from otherwise.cli.benchmark.command import register

__all__ = ["register"]
