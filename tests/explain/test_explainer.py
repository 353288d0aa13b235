"""The whole explanation: in the image's own geometry, honest about validity, and refused where it makes no sense."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from otherwise.agent.conditioning import Conditioning
from otherwise.agent.precision import Precision
from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import AgentError, CancelledError, ClassifierError, ImageError
from otherwise.explain.explainer import Explainer
from otherwise.images.image import Geometry, Image
from otherwise.report.folder import read_explanation, write_explanation
from otherwise.report.provenance import provenance
from support.square_models import SquareClassifier, eager_agent

HU = (-1000.0, 400.0)


def oblique_volume(shape: tuple[int, int, int] = (19, 23, 11)) -> Image:
    """Dark at the border and darker than the boundary in the middle, on an oblique, anisotropic grid."""
    rng = np.random.default_rng(5)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix() @ np.diag([0.7, 0.8, 2.5])
    affine[:3, 3] = [-80.0, 33.3, 12.1]
    array = (HU[0] + 400 + 100 * rng.random((1, *shape))).astype(np.float32)
    return Image(array, Geometry(shape, affine), "oblique")


@pytest.fixture
def explainer() -> Explainer:
    classifier = SquareClassifier(InputSpec((8, 8, 8), intensity=HU))
    return Explainer(classifier, eager_agent(classifier))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_explanation_says_in_which_precision_the_agent_drew(
    explainer: Explainer, tmp_path: Path, precision: str
) -> None:
    explainer.agent = replace(explainer.agent, precision=Precision(precision))
    explanation = explainer.explain(oblique_volume())
    assert explanation.precision == precision
    assert ("Agent drew in", precision) in provenance(explanation)
    write_explanation(explanation, tmp_path / "one")
    assert read_explanation(tmp_path / "one").precision == precision


def test_an_oblique_volume_is_explained_on_its_own_grid(explainer: Explainer) -> None:
    image = oblique_volume()
    stages: list[tuple[str, float]] = []
    explanation = explainer.explain(image, progress=lambda stage, part: stages.append((stage, part)))
    volumes = explanation.volumes
    assert explanation.prediction.label == "dark"
    assert explanation.target == "bright"
    assert explanation.counterfactual.valid
    for volume in (volumes.counterfactual, volumes.difference, volumes.effect, volumes.regions, *volumes.path):
        assert volume.geometry.same_as(image.geometry)
    np.testing.assert_allclose(volumes.counterfactual.array - image.array, volumes.difference.array, atol=1e-3)

    # Whoever shows the counterfactual to the classifier gets the answer that the explanation states.
    again = explainer.classify(volumes.counterfactual)
    assert again.label == "bright"
    assert again.probabilities == pytest.approx(explanation.counterfactual.probabilities)
    assert explainer.classify(volumes.minimal).probabilities == pytest.approx(explanation.minimal.probabilities)

    parts = [part for _, part in stages]
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    assert explanation.queries > len(explanation.path)


@pytest.mark.parametrize(
    ("size", "shape", "channels", "own"),
    [((8, 8), (40, 36, 1), 3, 3), ((8, 8), (40, 36, 1), 3, 1), ((8, 8, 8), (19, 23, 11), 2, 2)],
    ids=["colours", "grey for a classifier of colours", "two MR sequences"],
)
def test_every_channel_goes_through(
    size: tuple[int, ...], shape: tuple[int, int, int], channels: int, own: int, tmp_path: Path
) -> None:
    classifier = SquareClassifier(InputSpec(size, channels=channels))
    rng = np.random.default_rng(1)
    array = (0.25 + 0.1 * rng.random((own, *shape))).astype(np.float32)
    image = Image(array, Geometry(shape, np.diag([0.5, 0.5, 2, 1])), "coloured", 2 if shape[2] == 1 else 3)
    explainer = Explainer(classifier, eager_agent(classifier))
    explanation = explainer.explain(image)
    assert explanation.counterfactual.valid
    assert explanation.volumes.counterfactual.array.shape == image.array.shape
    assert explanation.volumes.effect.array.shape == (1, *shape)
    assert explainer.classify(explanation.volumes.counterfactual).label == explanation.target
    write_explanation(explanation, tmp_path / "explanation")
    again = read_explanation(tmp_path / "explanation")
    np.testing.assert_array_equal(again.volumes.counterfactual.array, explanation.volumes.counterfactual.array)


def test_regions_lie_where_the_classifier_looks(explainer: Explainer) -> None:
    image = oblique_volume()
    explanation = explainer.explain(image)
    strongest = explanation.regions[0]
    assert strongest.label == 1
    assert strongest.effect == max(region.effect for region in explanation.regions)
    assert set(np.unique(explanation.volumes.regions.array)) == {0, *(region.label for region in explanation.regions)}
    index = np.linalg.inv(image.geometry.affine) @ [*strongest.centroid_ras, 1.0]
    share = index[:3] / (np.array(image.geometry.shape) - 1)
    assert ((share > 0.2) & (share < 0.8)).all()


def test_the_same_seed_gives_the_same_explanation(explainer: Explainer) -> None:
    first, second = (explainer.explain(oblique_volume(), seed=3) for _ in range(2))
    assert first.id != second.id
    assert first.queries == second.queries
    assert np.array_equal(first.volumes.counterfactual.array, second.volumes.counterfactual.array)


def test_without_a_flip_it_says_so(explainer: Explainer) -> None:
    stuck = Explainer(explainer.classifier, explainer.agent, replace(explainer.settings, budget=0))
    explanation = stuck.explain(oblique_volume())
    assert not explanation.counterfactual.valid
    assert any("changes its mind" in note for note in explanation.notes)


def test_targets_that_make_no_sense_are_refused(explainer: Explainer) -> None:
    with pytest.raises(ClassifierError, match="no class 'grey'"):
        explainer.explain(oblique_volume(), target="grey")
    with pytest.raises(ClassifierError, match="says dark already"):
        explainer.explain(oblique_volume(), target="dark")


def test_images_of_the_wrong_kind_are_refused(explainer: Explainer) -> None:
    with pytest.raises(ImageError, match="single slice"):
        explainer.explain(oblique_volume((19, 23, 1)))
    broken = oblique_volume()
    broken.array[0, 3, 3, 3] = np.nan
    with pytest.raises(ImageError, match="not numbers"):
        explainer.explain(broken)


def test_models_that_do_not_belong_together_are_refused(explainer: Explainer) -> None:
    other = SquareClassifier(InputSpec((8, 8, 8)), version="9" * 64)
    with pytest.raises(AgentError, match="another classifier"):
        Explainer(other, explainer.agent)
    smaller = SquareClassifier(InputSpec((4, 8, 8)))
    with pytest.raises(AgentError, match="made for images"):
        Explainer(smaller, explainer.agent)


def test_it_can_be_cancelled_while_measuring(explainer: Explainer) -> None:
    stage = ""

    def progress(name: str, part: float) -> None:
        nonlocal stage
        stage = name

    with pytest.raises(CancelledError):
        explainer.explain(oblique_volume(), progress=progress, cancelled=lambda: stage == "influence")


@dataclass(frozen=True)
class StripeClassifier(SquareClassifier):
    """Says "bright" by the contrast of the finest stripes, which any resampling softens."""

    name: str = "stripes"

    def predict(self, images: np.ndarray) -> np.ndarray:
        contrast = (images[:, 0, ..., 1::2] - images[:, 0, ..., ::2]).reshape(len(images), -1).mean(axis=1)
        bright = 1 / (1 + np.exp(-40 * (contrast.astype(np.float64) - 0.1)))
        return np.stack([1 - bright, bright], axis=1)


def test_what_is_shown_flips_the_black_box_although_resampling_softens_it() -> None:
    classifier = StripeClassifier(InputSpec((8, 8, 8)))
    agent = eager_agent(classifier)
    smooth = agent.model.velocity

    def striped(noised: torch.Tensor, time: torch.Tensor, code: Conditioning) -> torch.Tensor:
        field = smooth(noised, time, code)
        field[..., ::2] *= -1
        return field

    agent.model.velocity = striped  # type: ignore[method-assign]
    explainer = Explainer(classifier, agent)
    slope = np.broadcast_to(np.linspace(0.4, 0.6, 20, dtype=np.float32)[:, None, None], (1, 20, 20, 20))
    explanation = explainer.explain(Image(slope.copy(), Geometry((20, 20, 20), np.eye(4)), "fine"))
    assert explanation.prediction.label == "dark"
    assert explanation.counterfactual.valid
    shown = explanation.volumes
    assert explainer.classify(shown.counterfactual).label == "bright"
    # The path says what the classifier says of the images that it shows, not of those before resampling.
    for point, image in zip(explanation.path, shown.path, strict=True):
        assert explainer.classify(image).probabilities == pytest.approx(point.probabilities)
    flipped = [point for point in explanation.path if point.probabilities["bright"] > 0.5]
    assert flipped[0].probabilities == pytest.approx(explanation.counterfactual.probabilities)
