"""``otherwise benchmark teaching``: compare strategies of questions by the share named per label."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from otherwise.cli.benchmark.suites import Agent, Classifier, Device, Out, Seed
from otherwise.cli.options.pair import load_pair
from otherwise.cli.progress import shown

LIDC_LABELS = (10, 20)
"""Numbers of labels at which figures are reported, besides the largest."""


class TeachingSubject(StrEnum):
    """Data whose truth the simulated reader knows."""

    mammogram = "phantom-mammogram"
    signs = "phantom-signs"
    nodule = "phantom-nodule"
    lidc = "lidc"


def register(benchmark: typer.Typer) -> None:
    """Add the commands."""

    @benchmark.command("teaching-speed")
    def teaching_speed(
        classifier: Classifier = "mammogram_classifier",
        agent: Agent = "mammogram_agent",
        images: Annotated[int, typer.Option(min=16, help="Phantoms whose units are gathered.")] = 1000,
        explanations: Annotated[int, typer.Option(min=100, help="Number of synthetic explanations.")] = 10_000,
        device: Device = "auto",
    ) -> None:
        """Time unit statistics, region queries, updates and questions."""
        from otherwise.evaluation.teaching.speed import measure

        hosted, taught = load_pair(classifier, agent, device)
        with shown("Measuring") as advance:
            figures = measure(taught, hosted.inputs, images, explanations, progress=advance)
        typer.echo(json.dumps(figures.to_dict(), indent=2))

    @benchmark.command("teaching")
    def teaching(
        subject: Annotated[TeachingSubject, typer.Argument(help="Data to explain and name.")],
        out: Out,
        classifier: Classifier = "mammogram_classifier",
        agent: Agent = "mammogram_agent",
        path: Annotated[Path | None, typer.Option(help="For lidc: folder with nodules.csv, image/ and mask/.")] = None,
        count: Annotated[int, typer.Option(min=4, help="Maximum number of images.")] = 400,
        labels: Annotated[int, typer.Option(min=1, help="Most labels that a reader gives; for lidc 40 is usual.")] = 25,
        readers: Annotated[int, typer.Option(min=1, help="Readers, each with other images to be asked about.")] = 20,
        seed: Seed = 53,
        device: Device = "auto",
    ) -> None:
        """Measure how simulated readers teach names: named share on phantoms, findings by patient on LIDC."""
        if (subject is TeachingSubject.lidc) != (path is not None):
            raise typer.BadParameter("the folder belongs to lidc, and to nothing else", param_hint="--path")
        if path is not None:
            _teach_lidc(path, out, classifier, agent, count, labels, readers, seed, device)
            return
        from itertools import islice

        from otherwise.annotations.vocabulary import load_vocabulary
        from otherwise.evaluation.teaching.curves import compare, table
        from otherwise.evaluation.teaching.gather import gather
        from otherwise.evaluation.teaching.lessons import mammogram_lessons, nodule_lessons, sign_lessons
        from otherwise.evaluation.teaching.plot import draw
        from otherwise.images.atomic import atomic_path

        hosted, taught = load_pair(classifier, agent, device)
        vocabulary = load_vocabulary()
        if subject is TeachingSubject.nodule:
            lessons = nodule_lessons(hosted.inputs, vocabulary, seed, count)
        elif subject is TeachingSubject.signs:
            lessons = sign_lessons(hosted.inputs, vocabulary, seed, count)
        else:
            lessons = mammogram_lessons(hosted.inputs, vocabulary, seed, count)
        with shown("Explaining") as advance:
            regions = gather(
                taught, hosted, islice(lessons, count), count, out / "regions", lambda part: advance("", part)
            )
        with shown("Teaching") as advance:
            curves = compare(regions, vocabulary, labels, readers, seed, lambda part: advance("", part))
        results = {
            "subject": subject.value,
            "classifier": f"{hosted.name}@{hosted.version}",
            "agent": f"{taught.name}@{taught.version}",
            "images": len({region.ref.image for region in regions}),
            "regions": len(regions),
            "curves": [curve.to_dict() for curve in curves.values()],
        }
        with atomic_path(out / "results.json") as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        with atomic_path(out / "table.md") as temporary:
            temporary.write_text(table(curves), encoding="utf-8")
        title = f"{subject.value}: {results['images']} images, {readers} readers, half of the images never asked about"
        draw(curves, title, out / "curves.png")
        typer.echo(table(curves), nl=False)

    @benchmark.command("attributes")
    def attributes(
        path: Annotated[Path, typer.Option(help="Folder of LIDC-IDRI nodules: nodules.csv, image/ and mask/.")],
        labels: Annotated[
            str, typer.Option(help="Numbers of labels to measure at, such as 10,20,40.")
        ] = "10,20,40,all",
        readers: Annotated[int, typer.Option(min=1, help="Simulated readers, each in an order of its own.")] = 20,
        mistakes: Annotated[float, typer.Option(min=0, max=1, help="Share of the answers that are wrong.")] = 0.0,
        doubts: Annotated[float, typer.Option(min=0, max=1, help='Share of the answers that are "cannot tell".')] = 0.0,
        shuffled: Annotated[bool, typer.Option("--shuffled", help="Shuffle the labels, as a control.")] = False,
        seed: Seed = 0,
    ) -> None:
        """Measure findings on real nodules, by patient, beside a constant, the majority and nearest neighbours."""
        from otherwise.annotations.vocabulary import load_vocabulary
        from otherwise.evaluation.teaching.attributes import measure_attributes, rated_regions
        from otherwise.evaluation.teaching.readers import ReaderKind

        counts = [
            2**31 if part == "all" else int(part) for part in labels.split(",") if part == "all" or part.isdigit()
        ]
        if not counts or len(counts) != len(labels.split(",")):
            raise typer.BadParameter(f"{labels!r} is no list of numbers", param_hint="--labels")
        vocabulary, kind = load_vocabulary(), ReaderKind(mistakes, doubts, shuffled)
        with shown("Describing") as advance:
            nodules, tissue = rated_regions(path, vocabulary, seed, lambda part: advance("", part))
        with shown("Teaching") as advance:
            found = measure_attributes(
                nodules, tissue, vocabulary, counts, readers, kind, seed, lambda part: advance("", part)
            )
        report = {
            "nodules": len(nodules),
            "nodules_with_a_word": sum(region.own is not None for region in nodules),
            "places_of_tissue": len(tissue),
            "patients": len({region.patient for region in nodules}),
            "readers": readers,
            "reader": {"mistakes": mistakes, "doubts": doubts, "shuffled": shuffled},
            "figures": [each.to_dict() for each in found],
        }
        typer.echo(json.dumps(report, indent=2))


def _teach_lidc(
    path: Path, out: Path, classifier: str, agent: str, count: int, labels: int, readers: int, seed: int, device: str
) -> None:
    """Explain nodules, let readers of every kind label decisive regions, and write results.json and table.md."""
    from otherwise.annotations.vocabulary import load_vocabulary
    from otherwise.evaluation.teaching.decisive import explain_nodules
    from otherwise.evaluation.teaching.decisive_lessons import compare_readers
    from otherwise.evaluation.teaching.figures import table
    from otherwise.explain.loading import load_explainer
    from otherwise.images.atomic import atomic_path

    explainer, vocabulary = load_explainer(classifier, agent, device), load_vocabulary()
    with shown("Explaining") as advance:
        explained = explain_nodules(
            path, out / "explanations", explainer, vocabulary, count, seed, lambda part: advance("", part)
        )
    counts = [number for number in LIDC_LABELS if number < labels] + [labels]
    with shown("Teaching") as advance:
        found = compare_readers(explained, vocabulary, counts, readers, seed, lambda part: advance("", part))
    summary = (
        f"{explained.nodules} of the folder's {explained.in_folder} nodules, of "
        f"{len(set(explained.patients.values()))} patients; {len(explained.regions)} decisive regions that belong to a "
        f"nodule or to ordinary tissue; {readers} readers."
    )
    results = {
        "about": summary,
        "classifier": f"{explainer.classifier.name}@{explainer.classifier.version}",
        "agent": f"{explainer.agent.name}@{explainer.agent.version}",
        "nodules": explained.nodules,
        "nodules_in_folder": explained.in_folder,
        "regions": len(explained.regions),
        "readers": {name: [each.to_dict() for each in rows] for name, rows in found.items()},
    }
    with atomic_path(out / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    with atomic_path(out / "table.md") as temporary:
        temporary.write_text(f"{summary}\n\n{table(found)}", encoding="utf-8")
    typer.echo(f"{summary}\n\n{table(found)}", nl=False)
