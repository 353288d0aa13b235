"""Configurations of MONAI bundles: read from JSON or YAML, and refused by name where they cannot be followed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otherwise.blackbox.hosts.monai_config import edge_of
from otherwise.blackbox.loading import load_classifier
from otherwise.errors import BundleError
from support.monai_bundles import (
    PREPROCESSING,
    READ,
    RESIZE,
    SCALE,
    hosted_answer,
    reconfigure,
    small_bundle,
    write_picture,
)


def test_what_is_no_deterministic_transform_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"RandFlipd.*--trust-code"):
        load_classifier(small_bundle(tmp_path / "b", [RESIZE, {"_target_": "RandFlipd", "keys": "image"}]))


@pytest.mark.parametrize(
    "inferer",
    [
        {"_target_": "os.system", "command": "x"},
        {"_target_": "SlidingWindowInferer", "roi_size": "$(32, 32)"},
        {"_target_": "PatchInferer", "splitter": {"_target_": "subprocess.Popen"}},
        "$print('x')",
    ],
)
def test_an_inferer_that_is_none_of_monais_is_refused_by_name(tmp_path: Path, inferer: Any) -> None:
    folder = reconfigure(small_bundle(tmp_path / "b", [RESIZE, SCALE]), inferer=inferer)
    with pytest.raises(BundleError, match=r"The inferer of .* is not followed.*--trust-code"):
        load_classifier(folder)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"reader": "PILReader", "reverse_indexing": False}, "reverse_indexing"),
        ({"reader": "ITKReader", "reverse_indexing": True}, "reverse_indexing"),
        ({"reader": "ITKReader", "affine_lps_to_ras": False}, "affine_lps_to_ras"),
        ({"reader": "NibabelReader", "as_closest_canonical": True}, "as_closest_canonical"),
        ({"reader": {"_target_": "NibabelReader", "as_closest_canonical": True}}, "as_closest_canonical"),
        ({"reader": "PILReader", "converter": "$lambda image: image.convert('HSV')"}, "converter"),
        ({"reader": "scripts.reader.OwnReader"}, "OwnReader"),
    ],
)
def test_a_reader_that_changes_images_is_refused_by_name(tmp_path: Path, arguments: dict[str, Any], named: str) -> None:
    folder = small_bundle(tmp_path / "b", [])
    steps = [{**READ[0], **arguments}, READ[1], RESIZE, SCALE]
    reconfigure(folder, preprocessing={"_target_": "Compose", "transforms": steps})
    with pytest.raises(BundleError, match=rf"Step 1 of preprocessing, LoadImaged \({named}\), is not followed"):
        load_classifier(folder)


@pytest.mark.parametrize(
    ("preprocessing", "fault"),
    [
        ({"transforms": [*READ, {"_target_": "Compose", "transforms": [RESIZE], "lazy": True}, SCALE]}, "lazy"),
        ({"transforms": [*READ, RESIZE, SCALE], "overrides": {"image": {"mode": "nearest"}}}, "overrides"),
        ({"transforms": "$[f(x) for x in @steps]"}, "Write its transforms as a list"),
        ({"transforms": "$@steps + @nowhere"}, "Write its transforms as a list"),
        ({"transforms": [*READ, {"_target_": "NormalizeIntensityd", "keys": "image"}, RESIZE]}, "after Normalize"),
    ],
)
def test_what_is_composed_otherwise_is_refused_by_name(
    tmp_path: Path, preprocessing: dict[str, Any], fault: str
) -> None:
    folder = small_bundle(tmp_path / "b", [])
    reconfigure(folder, steps=[*READ, RESIZE, SCALE], preprocessing={"_target_": "Compose", **preprocessing})
    with pytest.raises(BundleError, match=fault):
        load_classifier(folder)


@pytest.mark.parametrize(
    ("declared", "edge"),
    [(96, 96), ("96", 96), ("*", 64), ("32*n", 64), ("16 * n", 64), ("2**p*n", 64), ("8*n+1", 65), ("n*48", 48)],
)
def test_declared_shapes_are_understood(declared: Any, edge: int) -> None:
    assert edge_of(declared) == edge


@pytest.mark.parametrize("declared", ["x", "__import__('os')", "9**9**9**9", "n/2", "", None, "-n", 0])
def test_what_is_no_shape_is_refused(declared: Any) -> None:
    assert edge_of(declared) is None


@pytest.mark.parametrize("name", ["inference.yaml", "inference.yml"])
def test_a_configuration_in_yaml_is_followed_as_one_in_json(tmp_path: Path, name: str) -> None:
    import yaml

    picture = write_picture(tmp_path, 60, 40)
    json_one, yaml_one = (small_bundle(tmp_path / kind, PREPROCESSING["z-score"]) for kind in ("json", "yaml"))
    path = yaml_one / "configs" / "inference.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    text = "# by hand\nsize: &size [32, 48]\n" + yaml.safe_dump(content).replace(
        "spatial_size:", "spatial_size: *size #"
    )
    text = text.replace("      - 32\n      - 48\n", "").replace("    - 32\n    - 48\n", "")
    path.with_name(name).write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(hosted_answer(yaml_one, picture), hosted_answer(json_one, picture))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("network_def: {a: 1", r"inference.yaml line 1"),
        ("a: 1\na: 2", r"inference.yaml line 2: the key a is there twice"),
        ("- a\n- b", "holds no object"),
        ("a: !!python/object/apply:os.system [ls]", r"inference.yaml line 1"),
        ("a: &a [*a]", "cannot be read"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "\n".join(f"{k}: &{k} [{','.join(9 * [f'*{j}'])}]" for j, k in zip("abcdefg", "bcdefgh", strict=True)),
            "more than",
        ),
    ],
    ids=["cut", "twice", "list", "code", "circle", "bomb"],
)
def test_a_damaged_configuration_in_yaml_is_refused_in_a_line(tmp_path: Path, text: str, fault: str) -> None:
    folder = small_bundle(tmp_path / "b", PREPROCESSING["z-score"])
    (folder / "configs" / "inference.json").unlink()
    (folder / "configs" / "inference.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=fault):
        load_classifier(folder)


def test_two_configurations_are_refused(tmp_path: Path) -> None:
    folder = small_bundle(tmp_path / "b", PREPROCESSING["z-score"])
    (folder / "configs" / "inference.yaml").write_text("a: 1", encoding="utf-8")
    with pytest.raises(BundleError, match=r"inference\.json and inference.yaml.*Keep the one"):
        load_classifier(folder)
