"""``otherwise doctor``: check a machine before a server is started, or a running server from outside."""

from otherwise.cli.doctor.command import register

__all__ = ["register"]
