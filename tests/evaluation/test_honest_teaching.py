"""The benchmark of names cannot be won by a constant, by guessing, or by labels that mean nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.annotations.vocabulary import Term, Vocabulary, load_vocabulary
from otherwise.blackbox.protocol import InputSpec
from otherwise.concepts.attributes import TISSUE
from otherwise.concepts.description import FEATURES
from otherwise.concepts.feature_store import FeatureEntry
from otherwise.concepts.places import places_of
from otherwise.concepts.region_features import RegionFeatures
from otherwise.concepts.statistics import UnitTable
from otherwise.evaluation.teaching.decisive import ExplainedNodules, explain_nodules
from otherwise.evaluation.teaching.decisive_lessons import READERS, measure_decisive
from otherwise.evaluation.teaching.figures import ReaderRun, TeachingFigures, is_right, summarise, table
from otherwise.evaluation.teaching.readers import WORDS, RatedRegion, ReaderKind, answers
from otherwise.explain.explainer import Explainer
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.report.folder import read_explanation
from support.square_models import SquareClassifier, eager_agent, squares

UNITS = 8
NODULE = Term("SCT", "27925004", "Nodule")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return load_vocabulary()


@pytest.fixture(scope="module")
def explained(vocabulary: Vocabulary) -> ExplainedNodules:
    """Sixty explanations of thirty patients; what a region looks like says which word is true of it."""
    rng = np.random.default_rng(5)
    kinds = [vocabulary.find(*WORDS[word][0]) for word in ("calcified", "ground glass", "well defined")] + [TISSUE]
    looks = 6 * rng.normal(size=(len(kinds), len(FEATURES)))
    entries, regions, patients = [], [], {}
    for number in range(60):
        drawn = rng.choice(len(kinds), 2, p=[0.2, 0.2, 0.4, 0.2])
        descriptions = (looks[drawn] + rng.normal(size=(2, len(FEATURES)))).astype(np.float32)
        shares = np.array([0.7, 0.3])
        features = RegionFeatures(
            labels=np.array([1, 2]),
            effects=shares.astype(np.float32),
            embeddings=rng.normal(size=(2, 2 * UNITS)).astype(np.float32),
            overlaps=rng.random((2, UNITS)).astype(np.float32),
            together=np.zeros(UNITS, np.float32),
            peaks=np.zeros(UNITS, np.float32),
            descriptions=descriptions,
            tissue=(looks[-1] + rng.normal(size=(3, len(FEATURES)))).astype(np.float32),
        )
        source, patient = f"explanation-{number:02d}", f"patient-{number // 2:02d}"
        entries.append(FeatureEntry(source, f"image-{number:02d}", features))
        patients[source] = patient
        for place, kind in enumerate(drawn.tolist()):
            truth, key = frozenset([kinds[kind]]), (source, place + 1)
            regions.append(RatedRegion(patient, descriptions[place], truth, kinds[kind], float(shares[place]), key))
    names = tuple(f"layer/{n}" for n in range(UNITS))
    zeros = np.zeros(UNITS, np.float32)
    table = UnitTable("1", 60, names, np.zeros((3, UNITS)), zeros, zeros + 1, np.zeros((UNITS, 2)), ((),) * UNITS)
    lung = {entry.source: entry.features.tissue for entry in entries}
    return ExplainedNodules(tuple(entries), tuple(regions), lung, patients, table, 60, 100)


@pytest.fixture(scope="module")
def honest(explained: ExplainedNodules, vocabulary: Vocabulary) -> TeachingFigures:
    """Of readers who are always right."""
    (figures,) = measure_decisive(explained, vocabulary, [40], readers=2)
    return figures


def test_findings_are_predicted_and_beat_the_constant(honest: TeachingFigures) -> None:
    assert honest.labels == 40
    assert honest.own > max(0.8, honest.majority)
    assert honest.lift > 0.1
    assert honest.lift_interval[0] <= honest.lift <= honest.lift_interval[1]
    assert honest.own_interval[0] <= honest.own <= honest.own_interval[1]
    assert honest.lung_named <= 0.1
    assert honest.warned == 0
    assert honest.recall["calcified"] > 0.7
    assert honest.recall["spiculated"] == 0, "nobody ever said it"


def test_shuffled_labels_are_noticed_and_name_nothing(
    explained: ExplainedNodules, vocabulary: Vocabulary, honest: TeachingFigures
) -> None:
    (shuffled,) = measure_decisive(explained, vocabulary, [40], 4, ReaderKind(shuffled=True))
    assert shuffled.own < 0.5 * honest.own
    assert shuffled.warned >= 0.75


def test_wrong_labels_are_found_and_readers_who_err_differ(explained: ExplainedNodules, vocabulary: Vocabulary) -> None:
    (figures,) = measure_decisive(explained, vocabulary, [40], 2, READERS["two such readers"])
    assert figures.found_mistakes is not None
    assert figures.found_mistakes > 0.2
    assert figures.kappa is not None
    assert 0.4 < figures.kappa < 0.95
    text = table({"two": [figures]})
    assert f"| two, {figures.labels} | {figures.own:.2f}" in text
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_a_place_on_the_nodule_does_not_count_as_lung(explained: ExplainedNodules, vocabulary: Vocabulary) -> None:
    calcified = vocabulary.find(*WORDS["calcified"][0])
    nodules = np.stack([r.description for r in explained.regions if r.own == calcified])
    on_it = replace(explained, lung={source: nodules[:3] for source in explained.lung})
    (clear,), (touching,) = (measure_decisive(each, vocabulary, [40], 1) for each in (explained, on_it))
    assert clear.lung_named <= 0.1 < 0.9 <= touching.lung_named


def test_the_servers_way_of_asking_can_be_followed(explained: ExplainedNodules, vocabulary: Vocabulary) -> None:
    (figures,) = measure_decisive(explained, vocabulary, [6], 1, strategy="mixed")
    assert figures.labels == 6


def test_right_is_something_true_and_nothing_wrong(vocabulary: Vocabulary) -> None:
    calcified, glass = (vocabulary.find(*WORDS[word][0]) for word in ("calcified", "ground glass"))
    nodule = RatedRegion("p", np.zeros(3), frozenset([calcified]), calcified)
    tissue = RatedRegion("p", np.zeros(3), frozenset([TISSUE]), TISSUE)
    for terms, of_nodule, of_tissue in (
        ([], False, True),
        ([NODULE], True, False),
        ([calcified], True, False),
        ([calcified, glass], False, False),
        ([TISSUE], False, True),
    ):
        given = [(term, 0.9) for term in terms]
        assert is_right(nodule, given, vocabulary) == of_nodule
        assert is_right(tissue, given, vocabulary) == of_tissue


def test_a_constant_has_no_lift(vocabulary: Vocabulary, explained: ExplainedNodules) -> None:
    regions = list(explained.regions)
    for prediction, sign in (([(NODULE, 1.0)], 0), ([], -1)):
        run = ReaderRun(regions, [prediction] * len(regions), regions[:9], [r.own for r in regions[:9]], {}, 0.0)
        figures = summarise([run], vocabulary)
        assert np.sign(figures.lift) == sign, "to say nothing is worse than to say nodule"
        assert figures.own == 0


@pytest.mark.parametrize("kind", [ReaderKind(0.2, 0.3), ReaderKind(shuffled=True)])
def test_readers_err_as_often_as_asked(kind: ReaderKind, vocabulary: Vocabulary) -> None:
    words = [vocabulary.find(*key) for key, _ in WORDS.values()]
    rng = np.random.default_rng(0)
    regions = [RatedRegion("p", np.zeros(1), frozenset([word]), word) for word in rng.choice(words, 2000)]  # type: ignore[arg-type]
    regions = [replace(region, own=next(iter(region.truth))) for region in regions]
    given = answers(regions, vocabulary, kind, rng)
    doubts = np.mean([word is None for word in given])
    wrong = np.mean(
        [word is not None and word not in region.truth for word, region in zip(given, regions, strict=True)]
    )
    assert doubts == pytest.approx(kind.doubts, abs=0.04)
    assert wrong == pytest.approx(5 / 6 if kind.shuffled else kind.mistakes, abs=0.04)


def test_nodules_are_explained_once_and_their_regions_rated(tmp_path: Path, vocabulary: Vocabulary) -> None:
    folder = tmp_path / "nodules"
    arrays = squares((32, 32), 4, seed=3)
    rows = ["file,patient_id,Malignancy_value,Diagnosis_value,Spiculation_value,Lobulation_value,Calcification_value,"
            "Texture_value,Margin_value"]  # fmt: skip
    for number, array in enumerate(arrays):
        geometry = Geometry((32, 32, 2), np.eye(4))
        volume = np.repeat(array[..., None], 2, axis=-1)
        name = f"nodule-{number}.nii.gz"
        write_image(Image(volume.astype(np.float32), geometry), folder / "image" / name)
        write_image(Image((volume > 0.5).astype(np.uint8), geometry), folder / "mask" / name)
        rows.append(f"{name},patient-{number % 2},1,0,1,1,3,5,5")
    (folder / "nodules.csv").write_text("\n".join(rows) + "\n")
    classifier = SquareClassifier(InputSpec((32, 32)))
    explainer = Explainer(classifier, eager_agent(classifier), SearchSettings(steps=2, rounds=1, alternatives=0))
    found = explain_nodules(folder, tmp_path / "out", explainer, vocabulary, count=3)
    assert (found.nodules, found.in_folder, len(found.entries)) == (3, 4, 3)
    assert all(region.own in (TISSUE, vocabulary.find(*WORDS["calcified"][0])) for region in found.regions)
    for place in (tmp_path / "out").iterdir():
        explanation = read_explanation(place)
        nodule = read_image(folder / "mask" / f"{place.name}.nii.gz").array[0, ..., :1] > 0
        clear = [not (tissue & nodule).any() for tissue in places_of(explanation)]
        assert len(found.lung[explanation.id]) == sum(clear)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("explanation.json")}
    again = explain_nodules(folder, tmp_path / "out", explainer, vocabulary, count=3)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("explanation.json")} == made
    assert [region.key for region in again.regions] == [region.key for region in found.regions]
