"""``otherwise benchmark``: measure figures and print them as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from otherwise.cli.benchmark import confounders, suites, teaching, values
from otherwise.cli.benchmark.suites import Agent, Classifier, Device
from otherwise.cli.options.pair import load_pair
from otherwise.cli.options.patches import SkipMuscle
from otherwise.cli.phantoms import known_whole_kind
from otherwise.cli.progress import shown
from otherwise.phantoms.registry import WHOLE_KINDS

Whole = Annotated[
    str,
    typer.Option(
        help=f"Which phantoms of whole size: {', '.join(kind.name for kind in WHOLE_KINDS)}.",
        callback=known_whole_kind,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    benchmark = typer.Typer(help="Measure, and print JSON.", no_args_is_help=True)
    app.add_typer(benchmark, name="benchmark")
    suites.register(benchmark)
    teaching.register(benchmark)
    values.register(benchmark)
    confounders.register(benchmark)

    @benchmark.command("agent")
    def agent_(
        classifier: Classifier = "mammogram_classifier",
        agent: Agent = "mammogram_agent",
        count: Annotated[int, typer.Option(min=1, help="Number of unseen phantoms.")] = 200,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the phantoms.")] = 32,
        device: Device = "auto",
    ) -> None:
        """Measure validity, agreement and reconstruction on unseen phantom mammograms."""
        from otherwise.evaluation.quality import measure_quality

        hosted, taught = load_pair(classifier, agent, device)
        with shown("Searching") as advance:
            figures = measure_quality(taught, hosted, count, seed, advance)
        typer.echo(json.dumps(figures.to_dict(), indent=2))

    @benchmark.command("native")
    def native_(
        classifier: Classifier = "mammogram_classifier",
        agent: Agent = "mammogram_agent",
        count: Annotated[int, typer.Option(min=1, help="Number of unseen phantoms.")] = 100,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the phantoms.")] = 32,
        pixels: Annotated[int, typer.Option(min=32, help="Along each axis; the classifier sees it reduced.")] = 384,
        device: Device = "auto",
    ) -> None:
        """Measure how often a counterfactual still flips the black box at the resolution of a finer image."""
        from otherwise.evaluation.quality import measure_native
        from otherwise.explain.loading import load_explainer

        explainer = load_explainer(classifier, agent, device)
        with shown("Explaining") as advance:
            figures = measure_native(explainer, count, seed, (pixels, pixels), advance)
        typer.echo(json.dumps(figures.to_dict(), indent=2))

    @benchmark.command("speed")
    def speed_(
        classifier: Classifier = "mammogram_classifier",
        agent: Agent = "mammogram_agent",
        count: Annotated[int, typer.Option(min=1, help="Number of unseen phantoms.")] = 10,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the phantoms.")] = 51,
        device: Device = "auto",
    ) -> None:
        """Time explanations beside Captum's occlusion and full inversion, as ratios of pairs."""
        from otherwise.evaluation.benchmark.cases import mammogram_cases, nodule_cases
        from otherwise.evaluation.speed import measure_speed

        hosted, taught = load_pair(classifier, agent, device)
        draw = mammogram_cases if hosted.inputs.spatial_dims == 2 else nodule_cases
        images = [case.image for case in draw(hosted.inputs, count + 1, seed)]
        with shown("Timing") as advance:
            figures = measure_speed(taught, hosted, images, advance)
        typer.echo(json.dumps(figures.to_dict(), indent=2))

    @benchmark.command("find")
    def find_(
        classifier: Annotated[str, typer.Option(help="A classifier of patches: bundle folder or name.")],
        phantoms: Whole = "whole-mammogram",
        count: Annotated[int, typer.Option(min=1, help="Number of unseen whole phantoms.")] = 100,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the phantoms.")] = 33,
        skip_muscle: SkipMuscle = False,
        device: Device = "auto",
    ) -> None:
        """Measure free-response figures, time and memory of finding on unseen whole phantoms."""
        from otherwise.blackbox.loading import load_classifier
        from otherwise.evaluation.froc import measure_finding
        from otherwise.finding.finder import Finder
        from otherwise.finding.scan import Scan
        from otherwise.phantoms.registry import draw_whole

        finder = Finder(load_classifier(classifier, device=device), Scan(muscle=not skip_muscle))
        images = draw_whole(phantoms, seed, count)
        with shown("Finding") as advance:
            figures = measure_finding(finder, images, count, advance)
        typer.echo(json.dumps(figures.to_dict(), indent=2))

    @benchmark.command("place")
    def place_(
        classifier: Annotated[str, typer.Option(help="A classifier of patches: bundle folder or name.")],
        agent: Annotated[str, typer.Option(help="Its agent: bundle folder or name.")],
        phantoms: Whole = "whole-mammogram",
        count: Annotated[int, typer.Option(min=1, help="Number of unseen whole phantoms.")] = 20,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the phantoms.")] = 33,
        device: Device = "auto",
    ) -> None:
        """Compare the explanation of finds in their place with that of the patch alone: time, memory, exactness."""
        from otherwise.evaluation.finds_in_place import measure_finds_in_place
        from otherwise.explain.explainer import Explainer
        from otherwise.finding.finder import Finder
        from otherwise.phantoms.registry import draw_whole

        hosted, taught = load_pair(classifier, agent, device)
        images = draw_whole(phantoms, seed, count)
        with shown("Explaining") as advance:
            figures = measure_finds_in_place(Explainer(hosted, taught), Finder(hosted), images, count, advance)
        typer.echo(json.dumps(figures.to_dict(), indent=2))

    @benchmark.command("server")
    def server_(
        out: Annotated[Path, typer.Option(help="New folder for studies, log and explanations.")],
        classifier: Classifier = "mammogram_classifier",
        agent: Agent = "mammogram_agent",
        count: Annotated[int, typer.Option(min=1, help="Images to explain, alone and again beside a client.")] = 15,
        device: Device = "auto",
    ) -> None:
        """Measure time, memory and responsiveness of the real server, and the time of the demo."""
        from rich.console import Console

        from otherwise.demo.setup import Setup
        from otherwise.evaluation.server.measure import measure_demo, measure_server

        console = Console(stderr=True)
        figures = measure_server(Setup(out, "phantoms", None, classifier, agent, device, once=True), count, console)
        with console.status("Running the demo"):
            demo = measure_demo(Setup(out / "demo", "phantoms", None, classifier, agent, device, once=True))
        typer.echo(json.dumps({**figures.to_dict(), "demo_seconds": demo}, indent=2))

    @benchmark.command("crowd")
    def crowd(
        out: Annotated[Path, typer.Option(help="New folder for studies, log and explanations.")],
        classifier: Classifier = "mammogram_classifier",
        agent: Agent = "mammogram_agent",
        clients: Annotated[int, typer.Option(min=1, help="Number of clients that explain at once.")] = 8,
        seconds: Annotated[float, typer.Option(min=1, help="Duration in seconds.")] = 120,
        device: Device = "auto",
    ) -> None:
        """Measure the replies of the real server while several clients explain at once."""
        from rich.console import Console

        from otherwise.demo.setup import Setup
        from otherwise.evaluation.server.crowd import measure_crowd

        setup = Setup(out, "phantoms", None, classifier, agent, device, once=True)
        typer.echo(json.dumps(measure_crowd(setup, clients, seconds, Console(stderr=True)).to_dict(), indent=2))
