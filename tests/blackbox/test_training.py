"""A small classifier learns, repeatably, and an interrupted training loses nothing that was good."""

import numpy as np
import pytest
import torch

from otherwise.blackbox.bundle import read_bundle
from otherwise.blackbox.hosts.networks import read_weights
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.robustness import measure_robustness
from otherwise.blackbox.training.augmentation import Augmentation
from otherwise.blackbox.training.objectives import validation_figures
from otherwise.blackbox.training.starting_network import starting_network
from otherwise.blackbox.training.trainer import Recipe, train_classifier
from otherwise.errors import BundleError

INPUTS = InputSpec((24, 16), modality="MG")
CLASSES = ("plain", "spot")


def pictures(count: int, seed: int, size=(24, 16)) -> tuple[np.ndarray, np.ndarray]:
    """Noise, half of them with a bright spot somewhere."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.random((count, 1, *size)) * 0.5
    for image, label in zip(images, labels, strict=True):
        corner = tuple(slice(at, at + 5) for at in rng.integers(0, np.array(size) - 5))
        image[0][corner] += 0.4 * label
    return images.astype(np.float32), labels


def train(out, epochs=4, seed=3, **changes):
    arguments = {"validation": pictures(60, 2), "epochs": epochs, "seed": seed, **changes}
    return train_classifier(*pictures(160, 1), CLASSES, INPUTS, out, **arguments)


def test_it_learns_and_can_be_loaded(tmp_path):
    seen = []
    figures = train(
        tmp_path / "spots",
        epochs=8,
        progress=lambda *reported: seen.append(reported),
        command="typed this",
    )
    assert figures["auc"] > 0.95
    assert [reported[:2] for reported in seen] == [(epoch, 8) for epoch in range(1, 9)]
    hosted = load_classifier(tmp_path / "spots")
    images, labels = pictures(60, 2)
    again = validation_figures(hosted.predict(images), labels)
    assert again["auc"] == pytest.approx(figures["auc"], abs=1e-6)
    assert again["brier"] == pytest.approx(figures["brier"], abs=1e-5)
    assert (hosted.classes, hosted.inputs) == (CLASSES, INPUTS)
    card = (tmp_path / "spots" / "docs" / "README.md").read_text(encoding="utf-8")
    assert "typed this" in card
    assert f"auc {figures['auc']:.3f}" in card


def test_the_best_epoch_is_kept_and_not_the_last(tmp_path):
    """Against labels drawn by lot the figures go up and down, most of all where weights are not averaged."""
    images, labels = pictures(60, 2)
    lot = np.random.default_rng(0).permutation(labels)
    seen = []
    figures = train(
        tmp_path / "n",
        recipe=Recipe(epochs=6, average=0, seed=3),
        validation=(images, lot),
        progress=lambda epoch, epochs, figures_of_epoch: seen.append(figures_of_epoch),
    )
    ranks = [(round(figures_of_epoch["auc"], 2), -figures_of_epoch["brier"]) for figures_of_epoch in seen]
    assert (round(figures["auc"], 2), -figures["brier"]) == max(ranks) != ranks[-1]
    kept = validation_figures(load_classifier(tmp_path / "n").predict(images), lot)
    assert kept["brier"] == pytest.approx(figures["brier"], abs=1e-5)


def test_the_same_seed_gives_the_same_weights_and_touches_no_other_randomness(tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for name in ("a", "b"):
        train(tmp_path / name, epochs=1)
    train(tmp_path / "c", epochs=1, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    a, b, c = (read_weights(read_bundle(tmp_path / name).weights) for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_interrupting_keeps_the_best_epoch(tmp_path):
    figures = []

    def interrupt(epoch, epochs, figures_of_epoch):
        figures.append(figures_of_epoch)
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "spots", epochs=50, progress=interrupt)
    images, labels = pictures(60, 2)
    kept = validation_figures(load_classifier(tmp_path / "spots").predict(images), labels)
    assert any(kept["brier"] == pytest.approx(figures_of_epoch["brier"], abs=1e-5) for figures_of_epoch in figures)
    assert [item.name for item in tmp_path.iterdir()] == ["spots"]


@pytest.mark.parametrize("coarse", [False, True])
def test_a_training_can_begin_with_an_earlier_classifier(tmp_path, coarse):
    """Where nothing is learned, its weights stay; a smooth first layer is found again in the ordinary one."""
    train(tmp_path / "first", recipe=Recipe(epochs=1, coarse=coarse))
    start = starting_network(str(tmp_path / "first"), INPUTS, 2)
    standing = Recipe(epochs=1, learning_rate=0, weight_decay=0, coarse=coarse)
    train(tmp_path / "second", recipe=standing, network=start)
    first, second = (read_weights(tmp_path / name / "models" / "model.safetensors") for name in ("first", "second"))
    assert first.keys() == second.keys()
    for name in first:
        if "running" not in name and "num_batches" not in name:  # statistics of the images, which are disturbed anew
            torch.testing.assert_close(second[name], first[name], atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [(INPUTS, 3, "returns .2. numbers for an image, not 3"), (InputSpec((24, 16, 8)), 2, "does not take images of")],
)
def test_an_earlier_classifier_that_does_not_fit_is_refused(tmp_path, inputs, outputs, message):
    train(tmp_path / "first", epochs=1)
    with pytest.raises(BundleError, match=message):
        starting_network(str(tmp_path / "first"), inputs, outputs)


def test_an_existing_bundle_is_refused_before_training(tmp_path):
    (tmp_path / "spots").mkdir()
    with pytest.raises(BundleError, match="exists already"):
        train(tmp_path / "spots", progress=lambda *reported: pytest.fail("trained"))


def test_data_that_do_not_fit_are_refused(tmp_path):
    images, labels = pictures(60, 2)
    with pytest.raises(BundleError, match="none of class spot"):
        train(tmp_path / "spots", validation=(images, labels * 0))
    with pytest.raises(BundleError, match=r"shape \(60, 1, 24, 8\)"):
        train(tmp_path / "spots", validation=(images[..., :8], labels))
    assert list(tmp_path.iterdir()) == []


def test_three_dimensions_and_three_classes(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(18) % 3
    images = (rng.random((18, 1, 16, 16, 8)) * 0.2 + labels[:, None, None, None, None] * 0.3).astype(np.float32)
    inputs = InputSpec((16, 16, 8), 1, (0.7, 0.7, 1.5), (-1000.0, 400.0), "CT")
    train_classifier(images, labels, "abc", inputs, tmp_path / "n", validation=(images, labels), epochs=1)
    assert load_classifier(tmp_path / "n").predict(images).shape == (18, 3)


def grainy_spots(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of two kinds that differ twice: by a bright middle, and by faint grain that only one of them has."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = 0.4 + 0.01 * rng.standard_normal((count, 1, 24, 16))
    images += 0.05 * labels[:, None, None, None] * rng.standard_normal(images.shape)
    images[:, :, 8:16, 4:12] += (0.2 * labels + 0.1 * rng.standard_normal(count))[:, None, None, None]
    return images.clip(0, 1).astype(np.float32), labels


def test_a_classifier_taught_with_disturbances_does_not_go_by_grain_and_one_without_does(tmp_path):
    found = {}
    for name, recipe in {
        "robust": Recipe(epochs=8),
        "bare": Recipe(epochs=8, coarse=False, augmentation=Augmentation(0, 0, 0, 0, 0, 0)),
    }.items():
        out = tmp_path / name
        train_classifier(*grainy_spots(160, 1), CLASSES, INPUTS, out, validation=grainy_spots(80, 2), recipe=recipe)
        hosted = load_classifier(out)
        images, labels = grainy_spots(80, 3)
        assert validation_figures(hosted.predict(images), labels)["auc"] > 0.85
        found[name] = measure_robustness(hosted.predict, images, CLASSES)
        assert found[name].sentence[:20] in (out / "docs" / "README.md").read_text(encoding="utf-8")
    assert found["bare"].goes_by_grain
    assert not found["robust"].goes_by_grain
