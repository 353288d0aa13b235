"""Tasks of a developer; they run in the active environment. `nox -l` lists them."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["test", "check", "docs"]


@nox.session
def test(session: nox.Session) -> None:
    """Run the default tests, or those that follow --."""
    session.run("pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that are marked slow or fuzz."""
    session.run("pytest", "-m", "slow or fuzz", *session.posargs)


@nox.session
def check(session: nox.Session) -> None:
    """Check style, types and import rules."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site strictly into build/site; `-- serve` shows it while you write."""
    session.run("mkdocs", *(session.posargs or ["build", "--strict"]))


@nox.session
def pictures(session: nox.Session) -> None:
    """Draw the pictures of the Slicer tutorial anew."""
    session.run("python", "tests/slicer_extension/draw_pictures.py")
