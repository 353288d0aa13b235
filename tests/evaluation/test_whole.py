"""Patches of whole phantoms show what their label says, and finds are judged by the lesions they meet."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from otherwise.blackbox.protocol import InputSpec, PatchSpec
from otherwise.blackbox.training.labelled_images import read_labelled
from otherwise.errors import ImageError
from otherwise.evaluation.finds_in_place import changed_outside, geometry_error, measure_finds_in_place
from otherwise.evaluation.froc import Marks, judge, measure_finding, sensitivity_at
from otherwise.evaluation.patches import CLEAR, OFF_CENTRE, PatchSampling, places, write_patches
from otherwise.explain.explainer import Explainer
from otherwise.explain.placed import explain_find
from otherwise.finding.find import Find
from otherwise.finding.finder import Finder
from otherwise.images.image import Geometry, Image
from otherwise.phantoms.phantom import WholePhantom
from otherwise.phantoms.series import numbered_rng
from otherwise.phantoms.whole_mammogram import WholeMammogramSettings, make_whole_mammogram, whole_mammograms
from support.square_models import SquareClassifier, eager_agent

COARSE = WholeMammogramSettings(size=(600, 750), spacing=0.4)
SIZE, SPACING = (96, 96), (0.5, 0.5)
SAMPLING = PatchSampling(SIZE, SPACING)


@pytest.fixture(scope="module")
def phantoms() -> list[WholePhantom]:
    return list(whole_mammograms(4, 6, COARSE))


def test_patches_lie_about_lesions_or_clear_of_them(phantoms: list[WholePhantom]) -> None:
    rng = np.random.default_rng(0)
    for phantom in phantoms:
        found = list(places(phantom, SAMPLING, rng))
        assert sum(label != "normal" for label, _ in found) == 3 * len(phantom.lesions)
        for label, centre in found:
            offsets = [np.abs(np.array(lesion.centre_ras) - centre)[:2] for lesion in phantom.lesions]
            if label == "normal":
                assert all((offset > CLEAR * 48).any() for offset in offsets)
            else:
                near = [(offset <= OFF_CENTRE * 48 + 1e-6).all() for offset in offsets]
                assert any(near)
                assert phantom.lesions[near.index(True)].label == label


def test_the_table_is_what_training_reads(phantoms: list[WholePhantom], tmp_path: Path) -> None:
    counts = write_patches(phantoms, tmp_path / "patches", SAMPLING, np.random.default_rng(1))
    rows = list(csv.DictReader((tmp_path / "patches" / "labels.csv").open()))
    assert len(rows) == sum(counts.values())
    assert {row["patient"] for row in rows} <= {phantom.image.id for phantom in phantoms}
    read = read_labelled(tmp_path / "patches", tmp_path / "patches" / "labels.csv", InputSpec(SIZE, spacing=SPACING))
    assert read.images.shape == (len(rows), 1, 96, 96)
    with pytest.raises(ImageError, match="not empty"):
        write_patches(phantoms, tmp_path / "patches", SAMPLING, np.random.default_rng(1))


def find_at(phantom: WholePhantom, place: tuple[float, float, float], probability: float) -> Find:
    i, j, k = (int(x) for x in phantom.image.geometry.to_index(np.array(place)).round())
    return Find(1, probability, {}, place, (8, 8, 1), (i - 10, j - 10, k), (i + 10, j + 10, k + 1))


def test_a_find_that_meets_a_lesion_is_true_and_each_lesion_counts_once(phantoms: list[WholePhantom]) -> None:
    phantom = max(phantoms, key=lambda phantom: len(phantom.lesions))
    first = phantom.lesions[0].centre_ras
    away = (first[0] + 30, first[1] + 30, first[2])
    marks = judge(phantom, [find_at(phantom, first, 0.9), find_at(phantom, first, 0.6), find_at(phantom, away, 0.7)])
    assert marks == Marks((0.9,), (0.7,), len(phantom.lesions))


def test_the_sensitivity_is_told_at_a_rate_of_false_finds() -> None:
    marks = [Marks((0.9, 0.2), (0.5,), 2), Marks((0.8,), (0.7, 0.1), 2)]
    assert sensitivity_at(marks, 0.0) == pytest.approx(0.5), "two of four before the first false one"
    assert sensitivity_at(marks, 1.0) == pytest.approx(0.75)
    assert sensitivity_at([Marks((), (0.5,), 3)], 1.0) == 0.0


def test_a_measurement_has_all_figures(phantoms: list[WholePhantom]) -> None:
    classifier = SquareClassifier(InputSpec(SIZE, spacing=SPACING, patches=PatchSpec(("bright",), foreground=0.05)))
    figures = measure_finding(Finder(classifier), phantoms, len(phantoms)).to_dict()
    assert figures["lesions"] == sum(len(phantom.lesions) for phantom in phantoms)
    assert 0 <= figures["sensitivity_low"] <= figures["sensitivity"] <= figures["sensitivity_high"] <= 1
    assert figures["on_muscle"] is None, "these phantoms have none"
    assert figures["slowest_seconds"] >= figures["median_seconds"] > 0


def test_a_find_stays_in_its_place_and_costs_what_its_patch_costs(phantoms: list[WholePhantom]) -> None:
    classifier = SquareClassifier(InputSpec((16, 16), spacing=(1.0, 1.0), patches=PatchSpec(("bright",), 0.5, 0.05)))
    explainer = Explainer(classifier, eager_agent(classifier))
    figures = measure_finds_in_place(explainer, Finder(classifier), phantoms[:2], 2)
    assert figures.images == 2
    assert figures.geometry_error_mm < 1e-6
    assert figures.changed_outside == 0
    assert 0 < figures.median_ratio <= figures.worst_ratio


def test_a_change_outside_the_patch_would_be_counted(phantoms: list[WholePhantom]) -> None:
    """The figure can be other than zero: a volume that was moved or edited beyond the patch shows."""
    classifier = SquareClassifier(InputSpec((16, 16), spacing=(1.0, 1.0), patches=PatchSpec(("bright",), 0.5, 0.05)))
    explainer, finder, image = Explainer(classifier, eager_agent(classifier)), Finder(classifier), phantoms[0].image
    scores = finder.score(image)
    find = finder.rank(scores, 1)
    found = explain_find(explainer.explain, finder, image, scores, find)
    array = found.volumes.counterfactual.array.copy()
    array[:, 0, 0] += 1
    moved = Geometry(found.volumes.effect.geometry.shape, found.volumes.effect.geometry.affine + 0.01 * np.eye(4))
    volumes = replace(
        found.volumes,
        counterfactual=found.volumes.counterfactual.with_array(array),
        effect=Image(found.volumes.effect.array, moved, "moved", 2),
    )
    spoilt = replace(found, volumes=volumes)
    assert changed_outside(spoilt, image, find) == 1
    assert geometry_error(spoilt, image) > 1e-3


def test_finds_on_muscle_are_counted() -> None:
    phantom = make_whole_mammogram(numbered_rng(5, 0), replace(COARSE, oblique=True))
    assert phantom.muscle is not None
    classifier = SquareClassifier(InputSpec((96, 96), spacing=SPACING, patches=PatchSpec(("bright",), foreground=0.05)))
    everywhere = replace(phantom, muscle=np.ones_like(phantom.muscle))
    assert measure_finding(Finder(classifier), [everywhere], 1).on_muscle == 1
    nowhere = replace(phantom, muscle=np.zeros_like(phantom.muscle))
    assert measure_finding(Finder(classifier), [nowhere], 1).on_muscle == 0
