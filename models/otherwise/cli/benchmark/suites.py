"""``otherwise benchmark SUITE``: compare our explanations with other methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otherwise.cli.options.image_source import image_source
from otherwise.cli.options.pair import load_pair
from otherwise.cli.progress import shown

if TYPE_CHECKING:
    from otherwise.blackbox.protocol import BlackBox, InputSpec
    from otherwise.evaluation.benchmark.cases import Case

Out = Annotated[Path, typer.Option(help="Folder for results; an interrupted run goes on from what is in it.")]
Classifier = Annotated[str, typer.Option(help="The black box: a bundle folder or the name of a shipped one.")]
Agent = Annotated[str, typer.Option(help="Its agent: a bundle folder or the name of a shipped one.")]
Verifier = Annotated[
    str | None,
    typer.Option(help="Classifier of the same classes, of another architecture and seed; with further judges: a,b,c."),
]
Limit = Annotated[int, typer.Option(min=1, help="Number of images.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the phantoms.")]
Methods = Annotated[str | None, typer.Option(help="Only these, by name: a,b.")]
Ablation = Annotated[
    bool, typer.Option("--ablation", help="Remove one ingredient of our method at a time, instead of comparing peers.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]

Cases = Callable[["BlackBox", int], "Iterable[Case]"]
"""From the classifier, and how many, to cases."""


@dataclass(frozen=True)
class Suite:
    """Images of a comparison.

    Attributes:
        name: Name on the command line.
        cases: Images that were not used in any training.
        others: Images of another series, as references of each class, so that no image is its own neighbour.
        check: Refuses classifiers that the suite cannot test.
    """

    name: str
    cases: Cases
    others: Cases
    check: Callable[[BlackBox], None] = lambda hosted: None


@dataclass(frozen=True)
class SuiteOptions:
    """Options of all suites; ``ablation``: our method without one part at a time, instead of other methods."""

    out: Path
    classifier: str
    agent: str
    verifier: str | None
    limit: int
    methods: str | None
    device: str
    ablation: bool = False


class Split(StrEnum):
    """Patients of LIDC-IDRI, see ``datasets.lidc``."""

    TEST = "test"
    VALIDATION = "validation"
    TRAIN = "train"
    ALL = "all"


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
        ablation: Ablation = False,
    ) -> None:
        """Compare methods on phantom mammograms: smooth or spiculated masses. Needs pip's extra benchmark."""
        from otherwise.evaluation.benchmark.cases import mammogram_cases

        suite = Suite("phantom-mammogram", _series(mammogram_cases, seed), _series(mammogram_cases, seed + 1))
        _run(suite, SuiteOptions(out, classifier, agent, verifier, limit, methods, device, ablation))

    @benchmark.command("phantom-signs")
    def phantom_signs(
        out: Out,
        classifier: Classifier,
        agent: Agent,
        verifier: Verifier = None,
        limit: Limit = 200,
        seed: Seed = 51,
        methods: Methods = None,
        device: Device = "auto",
    ) -> None:
        """Compare methods on phantom mammograms with one of several decisive signs. Needs pip's extra benchmark."""
        from otherwise.evaluation.benchmark.cases import sign_cases

        suite = Suite("phantom-signs", _series(sign_cases, seed), _series(sign_cases, seed + 1))
        _run(suite, SuiteOptions(out, classifier, agent, verifier, limit, methods, device))

    @benchmark.command("phantom-nodule")
    def phantom_nodule(
        out: Out,
        classifier: Classifier = "nodule_classifier",
        agent: Agent = "nodule_agent",
        verifier: Verifier = None,
        limit: Limit = 100,
        seed: Seed = 51,
        methods: Methods = None,
        device: Device = "auto",
        ablation: Ablation = False,
    ) -> None:
        """Compare methods on phantom CT nodules in 3-D: smooth or spiculated. Needs pip's extra benchmark."""
        from otherwise.evaluation.benchmark.cases import nodule_cases

        suite = Suite("phantom-nodule", _series(nodule_cases, seed), _series(nodule_cases, seed + 1))
        _run(suite, SuiteOptions(out, classifier, agent, verifier, limit, methods, device, ablation))

    @benchmark.command("phantom-confounded")
    def phantom_confounded(
        out: Out,
        classifier: Classifier = "confounded_classifier",
        agent: Agent = "confounded_agent",
        verifier: Verifier = None,
        limit: Limit = 200,
        seed: Seed = 51,
        methods: Methods = None,
        device: Device = "auto",
    ) -> None:
        """Compare methods for a classifier that decides by a burned-in marker; refuse one that does not."""
        from otherwise.evaluation.benchmark.cases import confounded_cases, mammogram_cases
        from otherwise.evaluation.benchmark.suites import refuse_unconfounded

        def at_random(hosted: BlackBox, count: int) -> Iterable[Case]:
            return mammogram_cases(hosted.inputs, count, seed + 1, confound=0.0)

        def check(hosted: BlackBox) -> None:
            refuse_unconfounded(hosted, list(mammogram_cases(hosted.inputs, 200, seed + 2, confound=0.0)))

        suite = Suite("phantom-confounded", _series(confounded_cases, seed), at_random, check)
        _run(suite, SuiteOptions(out, classifier, agent, verifier, limit, methods, device))

    @benchmark.command("lidc")
    def lidc(
        path: Annotated[Path, typer.Option(help="Folder of LIDC-IDRI nodules: nodules.csv, image/ and mask/.")],
        out: Out,
        classifier: Classifier = "lidc_classifier",
        agent: Agent = "lidc_agent",
        verifier: Verifier = None,
        limit: Limit = 200,
        methods: Methods = None,
        device: Device = "auto",
        split: Annotated[Split, typer.Option(help="Which patients; all of a folder of others.")] = Split.TEST,
        off_centre: Annotated[
            bool, typer.Option("--off-centre", help="Move the field of view, so that nodules are not in the middle.")
        ] = False,
    ) -> None:
        """Compare methods on real CT nodules with the readers' masks. Needs pip's extra benchmark."""
        from otherwise.evaluation.benchmark.cases import lidc_cases

        def of(split: str) -> Cases:
            return lambda hosted, count: islice(lidc_cases(path, hosted.inputs, split, off_centre), count)

        suite = Suite("lidc-off-centre" if off_centre else "lidc", of(split.value), of("train"))
        _run(suite, SuiteOptions(out, classifier, agent, verifier, limit, methods, device))

    @benchmark.command("custom")
    def custom(
        images: Annotated[Path, typer.Option(help="Images, unseen in training.", parser=image_source)],
        masks: Annotated[Path, typer.Option(help="Folder of masks of the same names: what should decide.")],
        out: Out,
        classifier: Classifier,
        agent: Agent,
        verifier: Verifier = None,
        limit: Limit = 200,
        methods: Methods = None,
        device: Device = "auto",
    ) -> None:
        """Compare methods on your own images and masks. Needs pip's extra benchmark."""
        from otherwise.evaluation.benchmark.own_cases import own_cases

        read: dict[str, tuple[Case, ...]] = {}

        def every(hosted: BlackBox, count: int) -> tuple[Case, ...]:
            if hosted.version not in read:
                found = own_cases(images, masks, hosted)
                for sentence in found.left_out:
                    typer.echo(f"left out: {sentence}", err=True)
                read[hosted.version] = found.cases
            return read[hosted.version]

        # The same images are the references of each class, since there are no others.
        suite = Suite("custom", every, every)
        _run(suite, SuiteOptions(out, classifier, agent, verifier, limit, methods, device))


def _series(draw: Callable[[InputSpec, int, int], Iterable[Case]], seed: int) -> Cases:
    return lambda hosted, count: draw(hosted.inputs, count, seed)


def _run(suite: Suite, options: SuiteOptions) -> None:
    import numpy as np

    from otherwise.blackbox.loading import load_classifier
    from otherwise.evaluation.benchmark.methods.ablations import ablations
    from otherwise.evaluation.benchmark.methods.method import ReferenceImages
    from otherwise.evaluation.benchmark.methods.registry import MAP_METHODS, edit_methods
    from otherwise.evaluation.benchmark.run import Comparison, reconstruction_floor
    from otherwise.evaluation.benchmark.suites import choose, run_suite

    hosted, taught = load_pair(options.classifier, options.agent, options.device)
    suite.check(hosted)
    cases = list(suite.cases(hosted, options.limit))[: options.limit]
    reference = np.stack([case.image for case in suite.others(hosted, max(options.limit, 200))])
    if options.ablation:
        maps, edits = choose(options.methods, (), ablations(taught.student_noise > 0))
    else:
        references = ReferenceImages(reference, hosted.predict(reference))
        maps, edits = choose(options.methods, MAP_METHODS, edit_methods(references))
    for method in maps:
        if not method.suits(hosted):
            typer.echo(f"left out: {method.name}, which needs more than the answers of {hosted.name}", err=True)
    names = [name.strip() for name in (options.verifier or "").split(",") if name.strip()]
    judges = [load_classifier(name, device=options.device) for name in names]
    comparison = Comparison(
        classifier=hosted,
        agent=taught,
        verifier=judges[0] if judges else None,
        judges=judges[1:],
        maps=maps,
        edits=edits,
        floor=reconstruction_floor(taught, hosted, cases),
    )
    with shown("Comparison") as advance:
        run_suite(suite.name, comparison, cases, reference, options.out, advance)
    typer.echo((options.out / "table.md").read_text(encoding="utf-8"))
