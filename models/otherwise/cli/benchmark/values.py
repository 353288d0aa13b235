"""``otherwise benchmark prognosis | hc18``: explanations of models that say a value, judged by others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otherwise.cli.benchmark.suites import Agent, Classifier, Device, Limit, Out, Seed
from otherwise.cli.progress import shown

if TYPE_CHECKING:
    from otherwise.blackbox.protocol import BlackBox
    from otherwise.evaluation.benchmark.values.cases import ValueCase

Verifier = Annotated[str | None, typer.Option(help="Model of the same value, of another architecture and seed.")]
NoPeers = Annotated[bool, typer.Option("--no-peers", help="Without occlusion, integrated gradients and KernelSHAP.")]


def register(benchmark: typer.Typer) -> None:
    """Add the commands."""

    @benchmark.command("prognosis")
    def prognosis(
        out: Out,
        classifier: Classifier,
        agent: Agent,
        verifier: Verifier = None,
        limit: Limit = 200,
        seed: Seed = 61,
        no_peers: NoPeers = False,
        device: Device = "auto",
    ) -> None:
        """Ask for other risks of phantoms of prognosis; compare effects with the known hazard."""
        from otherwise.evaluation.benchmark.values.cases import prognosis_cases

        _run(
            "prognosis",
            lambda box: prognosis_cases(box, limit, seed),
            (classifier, agent, verifier),
            limit,
            out,
            no_peers,
            device,
        )

    @benchmark.command("hc18")
    def hc18(
        path: Annotated[Path, typer.Option(help="Folder with measurements.csv, image/ and mask/.")],
        out: Out,
        classifier: Classifier,
        agent: Agent,
        verifier: Verifier = None,
        limit: Limit = 100,
        no_peers: NoPeers = False,
        device: Device = "auto",
    ) -> None:
        """Ask for other circumferences of real fetal heads; measure those of the counterfactuals by ellipses."""
        from otherwise.evaluation.benchmark.values.cases import hc18_cases

        _run(
            "hc18",
            lambda box: hc18_cases(path, box, limit),
            (classifier, agent, verifier),
            limit,
            out,
            no_peers,
            device,
        )


def _run(
    name: str,
    cases: Callable[[BlackBox], Iterable[ValueCase]],
    models: tuple[str, str, str | None],
    limit: int,
    out: Path,
    no_peers: bool,
    device: str,
) -> None:
    from otherwise.blackbox.loading import load_classifier
    from otherwise.evaluation.benchmark.methods.registry import MAP_METHODS
    from otherwise.evaluation.benchmark.values.suite import PEERS, run_values
    from otherwise.explain.loading import load_explainer

    classifier, agent, verifier = models
    explainer = load_explainer(classifier, agent, device)
    judge = load_classifier(verifier, device=device) if verifier else None
    peers = [m for m in MAP_METHODS if m.name in PEERS and m.suits(explainer.classifier) and not no_peers]
    with shown("Explaining") as advance:
        run_values(name, explainer, judge, peers, cases(explainer.classifier), limit, out, advance)
    typer.echo((out / "table.md").read_text(encoding="utf-8"))
