"""Where patches are laid: settings of one search, what counts as tissue, and where a search looks closer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otherwise.blackbox.bundle import bundle_version
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.importing import import_classifier
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.protocol import InputSpec, PatchSpec
from otherwise.errors import BundleError, ClassifierError
from otherwise.finding.finder import Finder
from otherwise.finding.finer import MOST_MORE, finer_starts
from otherwise.finding.scan import Scan
from otherwise.finding.tissue import TissueMap
from otherwise.images.image import Geometry, Image
from support.box_images import FLAT, image_with, turned
from support.patch_models import save_middle
from support.square_models import SquareClassifier


@pytest.mark.parametrize("wanted", [("tumour",), ("calm", "tumour"), ("calm", "alarm")])
def test_a_search_for_what_the_classifier_cannot_tell_is_refused_at_import(tmp_path: Path, wanted) -> None:
    """A class that there is not, or all classes, of which one is always true."""
    inputs = InputSpec((16, 16), spacing=(1.0, 1.0), patches=PatchSpec(wanted))
    model = save_middle(tmp_path / "net.pt", 16)
    with pytest.raises(BundleError, match=r"to find|is to be found"):
        import_classifier(model, tmp_path / "out", classes=("calm", "alarm"), inputs=inputs)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("foreground", [5000.0, 255.0, -1.0, float("nan"), float("inf")])
def test_a_foreground_beyond_the_range_is_refused(foreground: float) -> None:
    with pytest.raises(BundleError, match="outside of the classifier's intensity range, 0 to 255"):
        InputSpec((8, 8), spacing=(1.0, 1.0), intensity=(0, 255), patches=PatchSpec(("a",), foreground=foreground))


@pytest.mark.parametrize("field", [{"overlap": 1.0}, {"overlap": -0.1}, {"share": 1.5}, {"overlap": float("nan")}])
def test_impossible_settings_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(BundleError, match="cannot overlap"):
        Finder(SquareClassifier(FLAT), Scan(**field))
    with pytest.raises(ClassifierError, match="no overlap of patches"):
        Scan(overlap=0.5).inputs(InputSpec((8, 8)))


def test_a_changed_bundle_is_examined_again(tmp_path: Path) -> None:
    """What is written into metadata.json by hand is refused when the bundle is read, as at import."""
    inputs = InputSpec((16, 16), spacing=(1.0, 1.0), patches=PatchSpec(("alarm",), foreground=0.1))
    model = save_middle(tmp_path / "net.pt", 16)
    import_classifier(model, tmp_path / "out", classes=("calm", "alarm"), inputs=inputs)
    for fields, words in (({"wanted": ["tumour"]}, "no class 'tumour'"), ({"foreground": 5000}, "outside of the")):
        _change(tmp_path / "out", fields)
        with pytest.raises(BundleError, match=words):
            load_classifier(tmp_path / "out")
        _change(tmp_path / "out", {"wanted": ["alarm"], "foreground": 0.1})


def test_how_patches_are_laid_is_no_part_of_the_version(tmp_path: Path) -> None:
    """So an agent of the classifier stays valid; that of a bundle of an earlier contract is what it was."""
    inputs = InputSpec((16, 16), spacing=(1.0, 1.0), patches=PatchSpec(("alarm",), foreground=0.1))
    model = save_middle(tmp_path / "net.pt", 16)
    import_classifier(model, tmp_path / "out", classes=("calm", "alarm"), inputs=inputs)
    version = bundle_version(tmp_path / "out")
    _change(tmp_path / "out", {"overlap": 0.8, "foreground": 0.3, "share": 0.6})
    assert bundle_version(tmp_path / "out") == version
    assert load_classifier(tmp_path / "out").inputs.patches == PatchSpec(("alarm",), 0.8, 0.3, 0.6)
    _change(tmp_path / "out", {"wanted": ["calm"]})
    assert bundle_version(tmp_path / "out") != version, "what is wanted does count"

    from otherwise.agent.bundle import load_agent

    for name in ("mammogram", "nodule"):
        classifier, agent = load_classifier(f"{name}_patch_classifier"), load_agent(f"{name}_patch_agent")
        assert agent.classifier_version == classifier.version


def _change(bundle: Path, fields: dict[str, object]) -> None:
    file = bundle / "configs" / "metadata.json"
    content = json.loads(file.read_text())
    content["otherwise"]["patches"].update(fields)
    file.write_text(json.dumps(content))


def breast(label: bool = True, frame: bool = True) -> Image:
    """A half disc of tissue in air, with a burned-in label and the bright edge of a film."""
    i, j = np.indices((300, 400))
    array = np.where(np.hypot(i, j - 200) < 180, 0.5, 0.01).astype(np.float32)
    if label:
        array[230:262, 20:34] = array[270:292, 20:52] = 0.9
    if frame:
        array[:, :3] = array[-3:] = 0.95
    return Image(array[None, ..., None], Geometry((300, 400, 1), np.eye(4)), "breast", 2)


INPUTS = InputSpec((96, 96), spacing=(1.0, 1.0), patches=PatchSpec(("bright",), foreground=0.05))


def test_labels_and_film_edges_are_no_tissue() -> None:
    finder, image = Finder(SquareClassifier(INPUTS)), breast()
    grid = finder.grid(image)
    starts = np.array([(200, 0), (204, 304), (0, 150), (100, 150)])
    label, corner, inside, edge = TissueMap(image, INPUTS).shares(starts, grid)
    assert label == corner == 0
    assert inside == 1
    assert 0 < edge < 1
    truth = breast(label=False, frame=False).array[0, 100:196, 150:246] > 0.05
    assert edge == pytest.approx(truth.mean(), abs=0.03)


@pytest.mark.parametrize(("label", "frame"), [(True, True), (False, True), (True, False)])
def test_finds_hold_a_quarter_of_tissue(label: bool, frame: bool) -> None:
    image = breast(label, frame)
    truth = breast(label=False, frame=False).array[0, ..., 0] > 0.05
    for find in Finder(SquareClassifier(INPUTS)).find(image, most=100):
        assert truth[find.low[0] : find.high[0], find.low[1] : find.high[1]].mean() > 0.23


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(-180, 180), min_size=3, max_size=3), st.integers(1, 3), st.sampled_from(["LP", "RA", "LA"]))
def test_the_share_of_tissue_is_that_of_the_patch(angles: list[float], dims: int, orientation: str) -> None:
    """Whatever way the image lies in space, and the classifier's axes in the image."""
    rng = np.random.default_rng(3)
    geometry = turned((61, 47, 30), (0.8, 0.7, 1.6), angles)
    image = Image((rng.random((1, 61, 47, 30)) > 0.4).astype(np.float32), geometry, "noise", 3)
    inputs = replace(INPUTS, size=(8, 8, 8), spacing=(0.8, 0.7, 1.6), orientation=None)
    finder = Finder(SquareClassifier(inputs))
    grid = finder.grid(image)
    starts = rng.integers(0, np.array(grid.shape) - 7, (5, 3))
    want = [image.array[0][tuple(slice(a, a + 8) for a in start)].mean() for start in starts]
    np.testing.assert_allclose(TissueMap(image, inputs).shares(starts, grid), want, atol=1e-6)


def test_a_search_looks_closer_only_around_what_is_suspicious() -> None:
    starts = np.array([(0, 0), (0, 48), (48, 0), (48, 48), (96, 0), (96, 48)])
    step, limit = np.array([48, 48]), np.array([96, 60])
    scores = np.array([0.0, 0.0, 0.0, 0.3, 0.01, 0.0])
    more = finer_starts(starts, scores, step, limit)
    assert {tuple(start) for start in more.tolist()} == {
        *((32, 32), (32, 48), (32, 60), (48, 32), (48, 60), (64, 32), (64, 48), (64, 60)),
    }
    assert len(finer_starts(starts, np.zeros(6), step, limit)) == 0
    assert len(finer_starts(starts, np.ones(6), step, limit)) <= MOST_MORE * len(starts)


def test_a_small_thing_between_two_patches_is_found() -> None:
    """A box that no patch of the coarse pass sees well; the fine pass asks for no more than it may."""
    geometry = Geometry((64, 64, 1), np.eye(4))
    image = image_with([(29.5, 27.5)], geometry, 2, edge=4)
    counted = CountingBlackBox(SquareClassifier(FLAT))
    coarse = Finder(counted, Scan(fine=False)).find(image)[0]
    asked = counted.queries
    fine = Finder(counted).find(image)[0]
    assert fine.probability > coarse.probability + 0.1
    assert counted.queries - asked <= (1 + MOST_MORE) * asked


def test_each_patch_has_its_own_window_where_the_classifier_wants_that() -> None:
    """As an own pipeline that normalises each patch does it, whatever the image's units."""
    image = image_with([(12, 40), (50, 20)], Geometry((64, 64, 1), np.eye(4)), 2)
    inputs = replace(FLAT, own_window=True, patches=replace(FLAT.patches, foreground=None))
    seen: list[np.ndarray] = []

    class Watched(SquareClassifier):
        def predict(self, images: np.ndarray) -> np.ndarray:
            seen.extend(images)
            return super().predict(images)

    for scale in (1.0, 1000.0):
        seen.clear()
        Finder(Watched(inputs)).score(image.with_array(image.array * np.float32(scale)))
        ranges = {(float(patch.min()), float(patch.max())) for patch in seen}
        assert ranges <= {(0.0, 1.0), (0.0, 0.0)}
        assert (0.0, 1.0) in ranges
