"""Times of teaching: those that a person waits for, and those of the background."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from otherwise.agent.bundle import Agent
from otherwise.annotations.annotation import Annotation
from otherwise.annotations.vocabulary import Vocabulary, load_vocabulary
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import show
from otherwise.concepts.description import FEATURES
from otherwise.concepts.feature_store import FeatureEntry
from otherwise.concepts.places import TISSUE_PLACES
from otherwise.concepts.query import matching_units
from otherwise.concepts.questions import STRATEGIES, next_questions
from otherwise.concepts.region_features import RegionFeatures
from otherwise.concepts.snapshot import ConceptSnapshot, fit_snapshot
from otherwise.concepts.statistics import UnitStatistics, UnitTable
from otherwise.concepts.units import EncoderUnits
from otherwise.evaluation.costs import resident_gib, timed
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms

UNITS = 512
BATCH = 16
REGIONS = 3
"""Decisive regions of an explanation, about."""


@dataclass(frozen=True)
class TeachingSpeed:
    """Seconds, unless the name says otherwise.

    Attributes:
        images: Phantoms whose units were gathered.
        unit_statistics: Reading their files, the network, quantiles, patches, map.
        growth_mib: By how much memory grew over the last three quarters of the images.
        region_query_2d: Overlap of a region with 512 units on 96 x 96, masks at hand.
        region_query_3d: The same on 32 x 32 x 32.
        explanations: How many the following rest upon.
        update: Learning everything again after one more label.
        questions: The next question, by strategy.
    """

    images: int
    unit_statistics: float
    growth_mib: float
    region_query_2d: float
    region_query_3d: float
    explanations: int
    update: float
    questions: dict[str, float]

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return asdict(self)


def measure(
    agent: Agent,
    inputs: InputSpec,
    images: int = 1000,
    explanations: int = 10_000,
    labels: int = 50,
    progress: Callable[[str, float], None] = lambda stage, part: None,
) -> TeachingSpeed:
    """Measure on this machine.

    Args:
        agent: Its encoder has the units.
        inputs: What its classifier wants.
        images: Phantom mammograms whose units are gathered.
        explanations: Made-up ones, of three regions each, to learn from and to ask about.
        labels: Given before the one whose update is timed.
        progress: Called with the stage and the share done.
    """
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, phantom in enumerate(mammograms(0, images, MammogramSettings())):
            progress("Drawing phantoms", number / images)
            files.append(write_image(phantom.image, Path(folder) / f"{number}.nii.gz"))
        grown: list[float] = []
        table, seconds = timed(lambda: _gather(agent, inputs, files, grown, lambda part: progress("Units", part)))
    progress("Names", 0.0)
    entries, notes, named = _synthetic_teaching(table, explanations, labels, rng)
    vocabulary = load_vocabulary()
    taught, update = timed(lambda: _learn(entries, notes, named, table, vocabulary))
    asked = {
        strategy: timed(lambda name=strategy: next_questions(name, taught.questions_pool, taught.model, 1, rng))[1]  # type: ignore[misc]
        for strategy in STRATEGIES
    }
    return TeachingSpeed(
        images=images,
        unit_statistics=round(seconds, 2),
        growth_mib=round(1024 * (grown[-1] - grown[0]), 1),
        region_query_2d=round(_query((96, 96), rng), 4),
        region_query_3d=round(_query((32, 32, 32), rng), 4),
        explanations=explanations,
        update=round(update, 2),
        questions={name: round(value, 3) for name, value in asked.items()},
    )


def _gather(
    agent: Agent, inputs: InputSpec, files: list[Path], grown: list[float], progress: Callable[[float], None]
) -> UnitTable:
    reader = EncoderUnits(agent)
    statistics: UnitStatistics | None = None
    for start in range(0, len(files), BATCH):
        some = files[start : start + BATCH]
        views = [show(read_image(f), inputs) for f in some]
        maps = reader.read(np.stack(views))
        statistics = statistics or UnitStatistics(reader.version, maps.names)
        statistics.add([file.name for file in some], maps)
        if 4 * start >= len(files):
            grown.append(resident_gib())
        progress(start / len(files))
    assert statistics is not None
    return statistics.table()


def _query(size: tuple[int, ...], rng: np.random.Generator, times: int = 20) -> float:
    levels = (rng.random((UNITS, *size, 1)) > 1 - np.array([0.1, 0.05, 0.01])).sum(-1).astype(np.uint8)
    region = np.zeros(size, bool)
    region[tuple(slice(edge // 3, 2 * edge // 3) for edge in size)] = True
    names = tuple(f"layer/{unit}" for unit in range(UNITS))
    return float(np.median([timed(lambda: matching_units(levels, names, region, 0.0))[1] for _ in range(times)]))


def _learn(
    entries: Sequence[FeatureEntry],
    notes: Sequence[Annotation],
    named: Mapping[str, FeatureEntry],
    table: UnitTable,
    vocabulary: Vocabulary,
) -> ConceptSnapshot:
    """Learn, and name every region and measure the named share, as for each version of the names."""
    taught = fit_snapshot(notes, entries, named, table, vocabulary, "1", np.random.default_rng(0))
    taught.named_share()
    return taught


def _synthetic_teaching(
    table: UnitTable, count: int, labels: int, rng: np.random.Generator
) -> tuple[list[FeatureEntry], list[Annotation], dict[str, FeatureEntry]]:
    units = len(table.names)
    terms = list(load_vocabulary())[:20]
    centres = rng.normal(size=(len(terms), 2 * units)).astype(np.float32)
    appearances = rng.normal(size=(len(terms), len(FEATURES)))

    def facts(kinds: np.ndarray, labels: list[int]) -> RegionFeatures:
        noise = rng.normal(size=(len(kinds), 2 * units)).astype(np.float32)
        overlap = rng.random((len(kinds), units), dtype=np.float32) ** 4
        effects = rng.random(len(kinds), dtype=np.float32)
        looks = appearances[kinds] + rng.normal(size=(len(kinds), len(FEATURES)))
        tissue = rng.normal(4, 1, (TISSUE_PLACES, len(FEATURES)))
        return RegionFeatures(
            np.array(labels),
            effects,
            centres[kinds] + noise,
            overlap,
            overlap[0],
            table.mean,
            looks.astype(np.float32),
            tissue.astype(np.float32),
        )

    entries = [
        FeatureEntry(f"explanation-{n:05d}", f"image-{n:05d}", facts(rng.integers(0, len(terms), REGIONS), [1, 2, 3]))
        for n in range(count)
    ]
    notes, named = [], {}
    for number in range(labels + 1):
        kind = int(rng.integers(0, len(terms)))
        note = Annotation("reader", "name", f"image-{number:05d}", units=(table.names[0],), term=terms[kind])
        notes.append(note)
        named[note.id] = FeatureEntry(note.id, note.image, facts(np.array([kind]), [0]))
    return entries, notes, named
