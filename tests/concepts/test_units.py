"""Units: what they say of images, of regions, and over a whole data set."""

from __future__ import annotations

from pathlib import Path

import monai.networks.nets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otherwise.blackbox.hosts.pytorch import module_host
from otherwise.blackbox.protocol import BlackBox, InputSpec
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.concepts.query import NAMING_OVERLAP, answering_limits, best_mask, matching_units, overlaps
from otherwise.concepts.statistics import UnitStatistics, UnitTable
from otherwise.concepts.units import EncoderUnits, LayerUnits, UnitError, UnitMaps, informative_layers, readable_layers
from support.square_models import SquareClassifier


def test_every_unit_of_the_later_levels_is_read(reader: EncoderUnits, images: np.ndarray) -> None:
    maps = reader.read(images[:3])
    assert list(maps.layers) == ["layer2", "layer3", "layer4"]
    assert maps.names[:2] == ("layer2/0", "layer2/1")
    assert len(maps.names) == 8 + 16 + 16
    assert maps.peaks().shape == (3, 40)
    assert all(values.min() >= 0 for values in maps.layers.values())


def test_the_latent_rests_on_the_last_level(reader: EncoderUnits, images: np.ndarray) -> None:
    encoder = reader.agent.model.encoder
    with torch.inference_mode():
        pixels = 2 * torch.from_numpy(images[:2]) - 1
        last = encoder.levels(pixels)["layer4"].flatten(2)
        pooled = encoder.project(torch.cat([last.mean(2), last.amax(2)], dim=1))
        assert torch.allclose(encoder.standardise(pooled), encoder(pixels), atol=1e-6)


def test_the_mean_over_the_whole_image_is_the_plain_mean(reader: EncoderUnits, images: np.ndarray) -> None:
    maps = reader.read(images[:2])
    means = np.concatenate([v.reshape(*v.shape[:2], -1).mean(2) for v in maps.layers.values()], axis=1)
    assert np.allclose(maps.within(np.ones(images.shape[2:], bool)), means, atol=1e-5)


def test_a_region_smaller_than_a_cell_sees_its_own_cell(reader: EncoderUnits, images: np.ndarray) -> None:
    maps = reader.read(images[:1])
    region = np.zeros(images.shape[2:], bool)
    region[(0,) * region.ndim] = True
    corner = (0, slice(None), *(0,) * region.ndim)
    assert np.allclose(maps.within(region)[0], np.concatenate([v[corner] for v in maps.layers.values()]), atol=1e-5)


def test_one_place_in_a_hundred_is_above_the_threshold(
    reader: EncoderUnits, images: np.ndarray, table: UnitTable
) -> None:
    start = 0
    for values in reader.read(images).layers.values():
        for unit in range(values.shape[1]):
            # A sketch is right in rank.
            low, high = np.quantile(values[:, unit], [0.98, 1.0])
            assert low - 1e-6 <= table.thresholds[-1, start + unit] <= high + 1e-6
        start += values.shape[1]


def test_gathering_in_parts_with_a_break_is_gathering_at_once(
    reader: EncoderUnits, images: np.ndarray, table: UnitTable, tmp_path: Path
) -> None:
    ids = [f"image-{n}" for n in range(len(images))]
    statistics = UnitStatistics(reader.version, reader.read(images[:1]).names)
    statistics.add(ids[:7], reader.read(images[:7]))
    statistics.save(tmp_path / "units.npz")
    statistics = UnitStatistics.load(tmp_path / "units.npz")
    for start in range(5, len(images), 6):  # some images come twice, and count once
        statistics.add(ids[start : start + 6], reader.read(images[start : start + 6]))
    parts = statistics.table()
    assert parts.images == len(images)
    assert np.allclose(parts.mean, table.mean, rtol=1e-4)
    assert np.allclose(parts.deviation, table.deviation, rtol=1e-3, atol=1e-6)
    assert [[p[0] for p in unit] for unit in parts.patches] == [[p[0] for p in unit] for unit in table.patches]


def test_the_strongest_patches_are_the_strongest(reader: EncoderUnits, images: np.ndarray, table: UnitTable) -> None:
    peaks = reader.read(images).peaks()
    for unit, patches in enumerate(table.patches):
        assert [value for _, _, value in patches] == sorted(peaks[:, unit], reverse=True)[:10]
        name, place, value = patches[0]
        assert peaks[int(name.removeprefix("image-")), unit] == np.float32(value)
        assert all(0 < x < 1 for x in place)


def test_damaged_statistics_are_named(tmp_path: Path) -> None:
    (tmp_path / "units.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UnitError, match=r"units\.npz are damaged"):
        UnitStatistics.load(tmp_path / "units.npz")


def test_without_images_there_is_no_table() -> None:
    with pytest.raises(UnitError, match="No image"):
        UnitStatistics("1", ["layer2/0"]).table()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), dims=st.sampled_from([2, 3]))
def test_overlap_is_intersection_over_union(seed: int, dims: int) -> None:
    rng = np.random.default_rng(seed)
    masks, region = rng.random((5, *[6] * dims)) < 0.3, rng.random([6] * dims) < 0.3
    region.flat[0] = True
    expected = [(m & region).sum() / (m | region).sum() for m in masks]
    assert np.allclose(overlaps(masks, region), expected)
    found = matching_units(masks, [f"layer/{n}" for n in range(5)], region, threshold=0.1)
    assert [match.overlap for match in found] == sorted((e for e in expected if e > 0.1), reverse=True)
    assert all(expected[match.index] == pytest.approx(match.overlap) for match in found)


def test_a_planted_unit_answers_to_its_region_first() -> None:
    maps = np.zeros((1, 3, 8, 8), np.float32)
    maps[0, 1, 2:5, 3:6] = 1
    masks = UnitMaps({"layer": maps}).levels(np.full((1, 3), 0.5, np.float32), (16, 16))
    region = np.zeros((16, 16), bool)
    region[4:10, 6:12] = True
    (match,) = matching_units(masks, ("layer/0", "layer/1", "layer/2"), region)
    assert match.unit == "layer/1"
    assert match.overlap > 0.8


def test_an_empty_region_and_one_of_another_grid_are_refused() -> None:
    masks = np.ones((2, 8, 8), bool)
    with pytest.raises(UnitError, match="empty"):
        matching_units(masks, ("l/0", "l/1"), np.zeros((8, 8), bool))
    with pytest.raises(UnitError, match="grid"):
        matching_units(masks, ("l/0", "l/1"), np.ones((4, 4), bool))


def test_layers_of_a_readable_black_box_are_units_too() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 64, 2)
    )
    hosted = module_host(network.eval(), ClassifierSpec("open", "1" * 64, ("a", "b"), InputSpec((8, 8))))
    (layer,) = readable_layers(hosted)
    maps = LayerUnits(hosted, (layer,)).read(np.ones((2, 1, 8, 8), np.float32))
    assert maps.layers[layer].shape == (2, 4, 8, 8)
    with pytest.raises(UnitError, match="no layer"):
        LayerUnits(hosted, ("nowhere",))


def test_the_last_convolution_of_each_grid_but_the_finest_is_read_unless_it_is_too_coarse() -> None:
    def halved(channels: int, more: int) -> list[torch.nn.Module]:
        return [torch.nn.Conv2d(channels, more, 3, stride=2, padding=1), torch.nn.Conv2d(more, more, 1)]

    def host(*widths: int) -> BlackBox:
        layers = [part for width, more in zip((1, *widths), widths, strict=False) for part in halved(width, more)]
        layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(widths[-1], 2)]
        network = torch.nn.Sequential(*layers).eval()
        return module_host(network, ClassifierSpec("open", "1" * 64, ("a", "b"), InputSpec((32, 32))))

    usual = host(4, 6, 8, 10)  # grids of 16, 8, 4 and 2
    assert [readable_layers(usual).index(layer) for layer in informative_layers(usual)] == [3, 5]
    wide = host(4, 300, 400)
    assert [readable_layers(wide).index(layer) for layer in informative_layers(wide)] == [5], (
        "no more units than can be kept"
    )
    maps = LayerUnits(usual, informative_layers(usual)).read(np.zeros((2, 1, 32, 32), np.float32))
    assert [values.shape for values in maps.layers.values()] == [(2, 6, 8, 8), (2, 8, 4, 4)]
    assert informative_layers(SquareClassifier(InputSpec((8, 8)))) == ()


def test_a_shortcut_of_a_residual_block_is_not_read() -> None:
    network = monai.networks.nets.resnet10(spatial_dims=2, n_input_channels=1, num_classes=2, conv1_t_stride=1)
    hosted = module_host(network.eval(), ClassifierSpec("open", "1" * 64, ("a", "b"), InputSpec((64, 64))))
    chosen = informative_layers(hosted)
    assert chosen
    assert not any("downsample" in layer for layer in chosen)
    assert all(layer.endswith("conv2") for layer in chosen)


def test_a_unit_answers_at_the_level_that_fits_the_region() -> None:
    maps = np.zeros((1, 1, 16, 16), np.float32)
    for value, edge in ((1, 8), (2, 4), (3, 2)):
        maps[0, 0, :edge, :edge] = value
    levels = UnitMaps({"layer": maps}).levels(np.array([[0.5], [1.5], [2.5]], np.float32), (16, 16))
    for edge in (8, 4, 2):
        region = np.zeros((16, 16), bool)
        region[:edge, :edge] = True
        assert overlaps(levels, region).tolist() == [1.0]
        assert np.array_equal(best_mask(levels[0], region), region)


def test_a_black_box_that_cannot_be_read_says_so() -> None:
    with pytest.raises(UnitError, match="cannot be looked into"):
        LayerUnits(SquareClassifier(InputSpec((8, 8))), ("layer",))


@given(st.integers(0, 2**16), st.sampled_from([20, 60, 200]), st.sampled_from([8, 64]))
def test_some_unit_answers_to_nine_regions_of_ten_and_no_unit_to_most(seed: int, regions: int, units: int) -> None:
    rng = np.random.default_rng(seed)
    found = rng.random((regions, units)) ** 4 * rng.random(units) * 0.2  # no overlap ever reaches 0.2
    answers = found > answering_limits(found)
    assert answers.any(axis=1).mean() >= 0.9
    assert answers.mean(axis=0).max() <= 0.5


def test_with_few_regions_one_limit_holds_for_all_units() -> None:
    assert answering_limits(np.zeros((3, 5))).tolist() == [NAMING_OVERLAP] * 5
