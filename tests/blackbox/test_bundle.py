"""A bundle is complete and understood, or refused in one line."""

import errno
import json
from pathlib import Path

import pytest

from otherwise.blackbox.bundle import bundle_version, read_bundle, write_bundle
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.spec import classifier_metadata, read_spec
from otherwise.errors import BundleError, OtherwiseError


def edit(bundle, change):
    path = bundle.folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    change(metadata)
    path.write_text(json.dumps(metadata), encoding="utf-8")
    return bundle.folder


def test_what_is_written_is_read_again(make_bundle):
    inputs = InputSpec((8, 6, 4), 2, (0.5, 0.5, 1.25), (-1000.0, 400.0), "CT")
    bundle = make_bundle(
        inputs=inputs, classes=("a", "b", "c"), activation="sigmoid", multi_label=True, value_range=(-1.0, 1.0)
    )
    spec = read_spec(read_bundle(bundle.folder, kind="classifier"))
    assert spec.inputs == inputs
    assert (spec.name, spec.classes, spec.activation) == ("tiny", ("a", "b", "c"), "sigmoid")
    assert spec.multi_label
    assert spec.tensor.value_range == (-1.0, 1.0)
    assert spec.version == bundle_version(bundle.folder)


def test_it_is_laid_out_as_monai_wants(make_bundle):
    bundle = make_bundle()
    found = {path.relative_to(bundle.folder).as_posix() for path in bundle.folder.rglob("*") if path.is_file()}
    assert found == {"configs/metadata.json", "configs/inference.json", "models/model.ts", "docs/README.md", "LICENSE"}
    # The required fields of MONAI's metadata schema (meta_schema_20220324.json).
    assert {
        *("version", "changelog", "monai_version", "pytorch_version", "numpy_version", "optional_packages_version"),
        *("task", "description", "authors", "copyright", "network_data_format"),
    } <= set(bundle.metadata)


def test_version_follows_content_and_not_line_endings(make_bundle):
    bundle = make_bundle()
    version = bundle_version(bundle)
    metadata = bundle.folder / "configs" / "metadata.json"
    metadata.write_bytes(metadata.read_bytes().replace(b"\n", b"\r\n"))
    assert bundle_version(bundle.folder) == version
    (bundle.folder / "docs" / "README.md").write_text("# another card", encoding="utf-8")
    assert bundle_version(bundle.folder) == version
    bundle.weights.write_bytes(bundle.weights.read_bytes() + b"\0")
    other = bundle_version(bundle.folder)
    assert other != version
    edit(bundle, lambda metadata: metadata["otherwise"].update(intensity=[0, 2]))
    assert bundle_version(bundle.folder) not in (version, other)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "configs/metadata.json").unlink(), "metadata.json is missing"),
        (lambda folder: (folder / "configs/metadata.json").write_text('{\n "a": 1,\n oh\n}'), "metadata.json line 3"),
        (lambda folder: (folder / "configs/metadata.json").write_text("[1]"), "holds no object"),
        (lambda folder: (folder / "configs/metadata.json").write_bytes(b"\xff\xfe\x00"), "cannot be read"),
        (lambda folder: (folder / "configs/inference.json").write_text("{"), "inference.json line 1"),
        (lambda folder: (folder / "models/model.ts").unlink(), "model.ts are missing"),
        (lambda folder: (folder / "models/model.ts").write_bytes(b"no zip"), "no TorchScript"),
    ],
)
def test_a_broken_bundle_is_refused_in_one_line(make_bundle, spoil, message):
    folder = make_bundle().folder
    spoil(folder)
    with pytest.raises(BundleError, match=message) as caught:
        load_classifier(folder)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["network_data_format"]["outputs"]["pred"].update(num_channels=3), "2 classes .* for 3 outputs"),
        (lambda m: m["network_data_format"]["outputs"]["pred"].update(channel_def={"1": "a", "2": "b"}), "from 0"),
        (lambda m: m["network_data_format"]["outputs"]["pred"].update(channel_def={"0": "a", "1": "a"}), "different"),
        (lambda m: m["network_data_format"]["inputs"]["image"].pop("spatial_shape"), "image.spatial_shape"),
        (lambda m: m["network_data_format"]["inputs"]["image"].update(spatial_shape="large"), "wrong value"),
        (lambda m: m["otherwise"].update(answer=3), "wrong value"),
        (lambda m: m["network_data_format"]["inputs"]["image"].update(spatial_shape=[8]), "size .* is impossible"),
        (lambda m: m["otherwise"].update(activation="relu"), "'relu' is unknown"),
        (lambda m: m["otherwise"].update(intensity=[1, 1]), "window .* is empty"),
        (lambda m: m["otherwise"].update(spacing=[0, 1]), "Spacing"),
        (lambda m: m["otherwise"].update(weights="../elsewhere.ts"), "outside"),
        (lambda m: m["otherwise"].update(weights=None), "no weights"),
        (lambda m: m["otherwise"].update(weights=7), "weights is no path"),
        (lambda m: m["otherwise"].update(kind="agent"), "is of kind agent"),
        (lambda m: m.update(otherwise=[]), "no object"),
    ],
)
def test_contradictions_are_named(make_bundle, change, message):
    with pytest.raises(BundleError, match=message):
        load_classifier(edit(make_bundle(), change))


def test_missing_folder_and_unknown_name(tmp_path):
    with pytest.raises(BundleError, match="no bundle folder"):
        load_classifier(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="no bundle 'nothing_of_that_name'"):
        load_classifier("nothing_of_that_name")


def test_a_zoo_bundle_without_our_key_is_understood(make_bundle):
    """MONAI's own fields and the preprocessing say enough."""
    inference = {
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": -1, "b_max": 1}
            ],
        },
        "postprocessing": {"_target_": "Compose", "transforms": [{"_target_": "Activationsd", "softmax": True}]},
    }
    bundle = make_bundle(inference=inference)
    edit(bundle, lambda metadata: metadata.pop("otherwise"))
    classifier = load_classifier(bundle.folder)
    assert classifier.inputs.intensity == (0.0, 255.0)
    assert classifier.inner.spec.tensor.value_range == (-1.0, 1.0)
    assert classifier.inner.spec.activation == "softmax"


def test_a_zoo_bundle_that_says_too_little_is_told_what_is_missing(make_bundle):
    folder = edit(make_bundle(), lambda metadata: metadata.pop("otherwise"))
    with pytest.raises(BundleError, match=r"does not say otherwise\.intensity, otherwise\.activation"):
        load_classifier(folder)


def test_a_full_disk_leaves_what_was_there(make_bundle, tmp_path):
    def disk_full(path: Path) -> None:
        path.write_bytes(b"half of the wei")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OtherwiseError, match="No space left on device"):
        make_bundle(write=disk_full)
    assert list(tmp_path.iterdir()) == []

    before = make_bundle()
    version = bundle_version(before)
    with pytest.raises(OtherwiseError, match="No space left"):
        write_bundle(before.folder, before.metadata, {}, disk_full, "# new", replace=True)
    assert [item.name for item in tmp_path.iterdir()] == ["tiny"]
    assert bundle_version(before.folder) == version


def test_interrupting_leaves_nothing(make_bundle, tmp_path):
    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_bundle(write=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_replaced_only_on_request(make_bundle, tiny, inputs):
    bundle = make_bundle()
    metadata = classifier_metadata(name="new", classes=("a", "b"), inputs=inputs, weights="models/model.ts")
    with pytest.raises(BundleError, match="exists already"):
        write_bundle(bundle.folder, metadata, {}, tiny.save_torchscript, "# new")
    assert write_bundle(bundle.folder, metadata, {}, tiny.save_torchscript, "# new", replace=True).name == "new"


def test_a_folder_that_is_no_bundle_is_never_replaced(make_bundle, tmp_path):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1.txt").write_text("mine", encoding="utf-8")
    other = make_bundle()
    with pytest.raises(BundleError, match="no bundle"):
        write_bundle(precious, other.metadata, {}, None, "#", replace=True)
    assert (precious / "chapter1.txt").read_text(encoding="utf-8") == "mine"
