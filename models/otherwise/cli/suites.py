"""``otherwise benchmark SUITE``: our explanations beside what users would take instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from otherwise.blackbox.protocol import BlackBox, InputSpec
    from otherwise.evaluation.benchmark.cases import Case

Out = Annotated[Path, typer.Option(help="Folder for results; an interrupted run goes on from what is in it.")]
Classifier = Annotated[str, typer.Option(help="The black box: a bundle folder or the name of a shipped one.")]
Agent = Annotated[str, typer.Option(help="Its agent: a bundle folder or the name of a shipped one.")]
Verifier = Annotated[
    str | None, typer.Option(help="Another classifier of the same classes, another build from another seed.")
]
Limit = Annotated[int, typer.Option(min=1, help="How many images.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the phantoms' series.")]
Methods = Annotated[str | None, typer.Option(help="Only these, by name: a,b.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]

Draw = Callable[["InputSpec", int, int], "Iterable[Case]"]
"""Inputs of the classifier, how many, seed -> cases."""


def register(benchmark: typer.Typer) -> None:
    """Add the commands."""

    @benchmark.command("phantom-mammogram")
    def phantom_mammogram(
        out: Out,
        classifier: Classifier = "mammogram_classifier",
        agent: Agent = "mammogram_agent",
        verifier: Verifier = None,
        limit: Limit = 200,
        seed: Seed = 51,
        methods: Methods = None,
        device: Device = "auto",
    ) -> None:
        """Phantom mammograms: smooth against spiculated masses. Needs the packages of pip's [benchmark]."""
        from otherwise.evaluation.benchmark.cases import mammogram_cases

        _hold("phantom-mammogram", mammogram_cases, out, classifier, agent, verifier, limit, seed, methods, device)

    @benchmark.command("phantom-nodule")
    def phantom_nodule(
        out: Out,
        classifier: Classifier,
        agent: Agent,
        verifier: Verifier = None,
        limit: Limit = 100,
        seed: Seed = 51,
        methods: Methods = None,
        device: Device = "auto",
    ) -> None:
        """Phantom CT nodules in 3-D: smooth against spiculated. Needs the packages of pip's [benchmark]."""
        from otherwise.evaluation.benchmark.cases import nodule_cases

        _hold("phantom-nodule", nodule_cases, out, classifier, agent, verifier, limit, seed, methods, device)

    @benchmark.command("phantom-confounded")
    def phantom_confounded(
        out: Out,
        classifier: Classifier,
        agent: Agent,
        verifier: Verifier = None,
        limit: Limit = 200,
        seed: Seed = 51,
        methods: Methods = None,
        device: Device = "auto",
    ) -> None:
        """Phantom mammograms for a classifier that goes by a burned-in marker: void if it does not."""
        from otherwise.evaluation.benchmark.cases import mammogram_cases
        from otherwise.evaluation.benchmark.suites import refuse_unconfounded

        def draw(inputs: InputSpec, count: int, seed: int) -> list[Case]:
            # Images that carry the marker, whatever their class.
            return [case for case in mammogram_cases(inputs, 2 * count, seed, confound=0.0) if case.marker is not None]

        def check(hosted: BlackBox) -> None:
            refuse_unconfounded(hosted, list(mammogram_cases(hosted.inputs, 200, seed + 2, confound=0.0)))

        _hold("phantom-confounded", draw, out, classifier, agent, verifier, limit, seed, methods, device, check)

    @benchmark.command("custom")
    def custom(
        images: Annotated[Path, typer.Option(help="Folder of images, unseen in training.")],
        masks: Annotated[Path, typer.Option(help="Folder of masks of the same names: what should decide.")],
        out: Out,
        classifier: Classifier,
        agent: Agent,
        verifier: Verifier = None,
        limit: Limit = 200,
        methods: Methods = None,
        device: Device = "auto",
    ) -> None:
        """Your own images and masks. Needs the packages of pip's [benchmark]."""
        from otherwise.evaluation.benchmark.cases import folder_cases

        every: list[Case] = []

        def draw(inputs: InputSpec, count: int, seed: int) -> list[Case]:
            # Asked a second time for what images of each class look like: the same ones, there are no others.
            every[:] = every or folder_cases(images, masks, inputs)
            return every[:count]

        _hold("custom", draw, out, classifier, agent, verifier, limit, 0, methods, device)


def _hold(
    suite: str,
    draw: Draw,
    out: Path,
    classifier: str,
    agent: str,
    verifier: str | None,
    limit: int,
    seed: int,
    methods: str | None,
    device: str,
    check: Callable[[BlackBox], None] = lambda hosted: None,
) -> None:
    import numpy as np
    from rich.console import Console
    from rich.progress import Progress

    from otherwise.agent.bundle import load_agent
    from otherwise.blackbox.loading import load_classifier
    from otherwise.blackbox.torch_host import check_device
    from otherwise.evaluation.benchmark.edits import edit_methods
    from otherwise.evaluation.benchmark.maps import peers
    from otherwise.evaluation.benchmark.run import Contest, reconstruction_floor
    from otherwise.evaluation.benchmark.suites import choose, run_suite

    place = str(check_device(device))
    hosted, taught = load_classifier(classifier, device=place), load_agent(agent, device=place)
    check(hosted)
    cases = list(draw(hosted.inputs, limit, seed))[:limit]
    # Of another series, so that no image is its own neighbour.
    reference = np.stack([case.image for case in draw(hosted.inputs, max(limit, 200), seed + 1)])
    maps, edits = choose(methods, peers(), edit_methods(reference, hosted.predict(reference)))
    contest = Contest(
        classifier=hosted,
        agent=taught,
        verifier=load_classifier(verifier, device=place) if verifier else None,
        maps=maps,
        edits=edits,
        floor=reconstruction_floor(taught, hosted, cases),
    )
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Contest", total=1.0)

        def progress(stage: str, done: float) -> None:
            bar.update(task, description=stage, completed=done)

        run_suite(suite, contest, cases, reference, out, progress)
    typer.echo((out / "table.md").read_text(encoding="utf-8"))
