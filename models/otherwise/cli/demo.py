"""``otherwise demo``: make images, start a server, explain one image and write its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otherwise.cli.options.image_source import image_source
from otherwise.errors import OtherwiseError


class DemoOptionError(OtherwiseError):
    """Options contradict each other."""

    code = "option"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def demo(
        out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("otherwise-demo"),
        once: Annotated[bool, typer.Option("--once", help="Stop after the report instead of serving.")] = False,
        images: Annotated[
            Path | None, typer.Option(help="Show your own images; needs both bundles.", parser=image_source)
        ] = None,
        classifier: Annotated[str | None, typer.Option(help="Bundle of your classifier.")] = None,
        agent: Annotated[str | None, typer.Option(help="Bundle of its agent.")] = None,
        data: Annotated[str | None, typer.Option(help="Show a known data set instead: lidc.")] = None,
        path: Annotated[Path | None, typer.Option(help="Folder of that data set.")] = None,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
        port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the server; 0: any free one.")] = 0,
    ) -> None:
        """Make images, start the server, classify and explain over HTTP, and write a report."""
        from rich.console import Console

        from otherwise.demo.setup import Setup
        from otherwise.demo.story import run_demo

        source, folder, family = chosen_source(images, classifier, agent, data, path)
        setup = Setup(
            out=out,
            source=source,
            path=folder,
            classifier=classifier or f"{family}_classifier",
            agent=agent or f"{family}_agent",
            device=device,
            port=port,
            once=once,
        )
        run_demo(setup, Console())


def chosen_source(
    images: Path | None, classifier: str | None, agent: str | None, data: str | None, path: Path | None
) -> tuple[str, Path | None, str]:
    """Choose the images of the demo.

    Returns:
        Kind of source, its folder, and the family of the shipped bundles that go with it.

    Raises:
        DemoOptionError: if the options contradict each other.
    """
    if images is not None and data is not None:
        raise DemoOptionError("--images and --data exclude each other.", "Give one of them.")
    if images is not None:
        if classifier is None or agent is None:
            raise DemoOptionError(
                "Your own images need your own models.", "Give --classifier BUNDLE and --agent BUNDLE."
            )
        return "folder", images, ""
    if data is not None and data != "lidc":
        raise DemoOptionError(f"Data set {data!r} is unknown.", "Known is lidc.")
    if (data is None) != (path is None):
        raise DemoOptionError("--data and --path go together.", "Give both, for example --data lidc --path DIR.")
    return ("lidc", path, "lidc") if data else ("phantoms", None, "mammogram")
