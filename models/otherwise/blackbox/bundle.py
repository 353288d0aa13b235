"""A bundle: one folder that holds a model, in the layout and with the metadata of a MONAI bundle.

Source: MONAI Bundle Specification (https://docs.monai.io/en/stable/mb_specification.html). What MONAI's metadata has no
field for stands under the key ``otherwise``. Nothing in this file opens the weights, so it serves classifiers and
agents alike. A bundle on disk is complete or absent: it is written under another name and then renamed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from otherwise.blackbox.configuration import leaves, read_configuration
from otherwise.errors import BundleError
from otherwise.images.atomic import atomic_folder, is_occupied

METADATA = "configs/metadata.json"
INFERENCE = "configs/inference.json"
INFERENCE_NAMES = (INFERENCE, "configs/inference.yaml", "configs/inference.yml")
"""Possible names of the configuration; a bundle has at most one of them."""
CARD = "docs/README.md"
LICENSE = "LICENSE"
USUAL_WEIGHTS = tuple(f"models/model.{kind}" for kind in ("safetensors", "ts", "onnx", "pt2", "pt"))
"""Places where weights are looked for in a bundle that does not name them, in order of preference."""
LAID = ("overlap", "foreground", "share")
"""Under ``otherwise.patches``: how patches are laid over an image, see ``protocol.PatchSpec``."""
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20220324.json"

APACHE_NOTICE = """Licensed under the Apache License, Version 2.0 (the "License");
you may not use this model except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
"""


@dataclass(frozen=True)
class Bundle:
    """A complete bundle, as read.

    Attributes:
        folder: Folder of the bundle.
        metadata: Content of ``configs/metadata.json``.
        inference: Content of ``configs/inference.json`` or ``.yaml``; empty where there is none.
    """

    folder: Path
    metadata: dict[str, Any]
    inference: dict[str, Any]

    @property
    def inference_file(self) -> Path:
        """Return the path of the configuration, whether it exists or not."""
        return _inference_file(self.folder) or self.folder / INFERENCE

    @property
    def own(self) -> dict[str, Any]:
        """Return the metadata under the key ``otherwise``."""
        return self.metadata.get("otherwise", {})

    @property
    def name(self) -> str:
        """Return the display name."""
        return str(self.metadata.get("name") or self.folder.resolve().name)

    @property
    def kind(self) -> str:
        """Return ``classifier`` or ``agent``."""
        return str(self.own.get("kind", "classifier"))

    @property
    def weights(self) -> Path | None:
        """Return the file of the weights; None where the model is a Python function or on a server."""
        if "weights" in self.own:
            named = self.own["weights"]
            return self.folder / named if named else None
        return next((self.folder / usual for usual in USUAL_WEIGHTS if (self.folder / usual).is_file()), None)

    @property
    def scripts(self) -> tuple[Path, ...]:
        """Return the Python files in the bundle, sorted."""
        return tuple(sorted(self.folder.rglob("*.py")))


def read_bundle(folder: str | Path, kind: str | None = None) -> Bundle:
    """Read and check a bundle's JSON and YAML files; weights are not opened.

    Args:
        folder: The bundle.
        kind: ``classifier`` or ``agent``; other kinds are refused. None: any.

    Raises:
        BundleError: if the folder, its metadata or its weights are missing or broken, it is of another kind, or it
            holds two configurations.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BundleError(f"There is no bundle folder {folder}.", "Check the path.")
    if not (folder / METADATA).is_file():
        raise BundleError(f"{folder} is no bundle: {METADATA} is missing.", "Give the folder that holds configs/.")
    metadata = read_configuration(folder / METADATA)
    configuration = _inference_file(folder)
    inference = read_configuration(configuration) if configuration else {}
    own = metadata.get("otherwise", {})
    if not isinstance(own, dict):
        raise BundleError(f"{folder / METADATA}: 'otherwise' is no object.", "See docs for what belongs there.")
    bundle = Bundle(folder, metadata, inference)
    if kind is not None and bundle.kind != kind:
        raise BundleError(f"{folder} is of kind {bundle.kind}, not {kind}.", f"Give a {kind} bundle.")
    _check_weights(bundle)
    return bundle


def refuse_code(bundle: Bundle) -> None:
    """Refuse a bundle that contains Python code or whose configuration runs Python.

    Raises:
        BundleError: naming what was found: a script, an import, an expression (``$``) or a macro (``%``).
    """
    hint = "If you trust its author, allow it with --trust-code."
    if bundle.scripts:
        script = bundle.scripts[0].relative_to(bundle.folder).as_posix()
        raise BundleError(f"{bundle.folder} brings its own Python ({script}).", hint)
    for place, value in leaves(bundle.inference):
        if place.split(".")[0] in ("imports", "_import_") or str(value).lstrip().startswith(("$", "%")):
            raise BundleError(f"{bundle.inference_file} wants to run code at {place}: {str(value)[:60]!r}.", hint)


def bundle_version(bundle: Bundle | str | Path) -> str:
    """Return the hash of everything that affects the answers of a bundle's model.

    Covers the weights (and all of ``models/``, since ONNX weights may lie in several files), both configurations and
    the bundle's own Python. Line endings of text files are normalised,
    since version control may change them. The placement of patches (``LAID``) does not count, except in bundles of
    contract 1 and 2, whose agents refer to hashes that include it.

    Returns:
        SHA-256 as 64 hexadecimal characters; ``short_version`` is what people see.
    """
    bundle = bundle if isinstance(bundle, Bundle) else read_bundle(bundle)
    digest = hashlib.sha256()
    for config in (_metadata_of_answers(bundle.metadata), bundle.inference):
        digest.update(json.dumps(config, sort_keys=True, ensure_ascii=True).encode())
    binaries = {path for path in (bundle.folder / "models").rglob("*") if path.is_file()} - set(bundle.scripts)
    for path in sorted(binaries | ({bundle.weights} if bundle.weights else set())):
        digest.update(path.relative_to(bundle.folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for script in bundle.scripts:
        digest.update(script.relative_to(bundle.folder).as_posix().encode())
        digest.update(script.read_text(encoding="utf-8", errors="replace").encode())
    return digest.hexdigest()


def _metadata_of_answers(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata that affects the answer for a patch."""
    own = metadata.get("otherwise", {})
    patches, contract = own.get("patches"), own.get("contract", 1)
    if not isinstance(patches, dict) or not isinstance(contract, int) or contract < 3:
        return metadata
    kept = {key: value for key, value in patches.items() if key not in LAID}
    return {**metadata, "otherwise": {**own, "patches": kept}}


def short_version(version: str) -> str:
    """Return the first 16 characters of a version, for display."""
    return version[:16]


def write_bundle(
    folder: str | Path,
    metadata: Mapping[str, Any],
    inference: Mapping[str, Any],
    write_weights: Callable[[Path], None] | None,
    card: str,
    *,
    license_text: str = APACHE_NOTICE,
    replace: bool = False,
) -> Bundle:
    """Write a bundle, all of it or nothing.

    Args:
        folder: Folder to write; missing parents are created.
        metadata: See ``common_metadata``; ``metadata["otherwise"]["weights"]`` names the weights file.
        inference: Content of ``configs/inference.json``.
        write_weights: Called with the path to write the weights to; None for a model that has none.
        card: The model card, Markdown.
        license_text: Content of ``LICENSE``.
        replace: Whether an existing bundle may be replaced.

    Raises:
        BundleError: if the folder exists and may not be replaced, or what was written is no complete bundle.
        WriteError: if writing fails (disk full, no permission). An existing bundle is then unchanged.
    """
    folder = Path(folder)
    refuse_existing(folder, replace)
    with atomic_folder(folder) as draft:
        for item in ("configs", "models", "docs"):
            (draft / item).mkdir()
        _write_text(draft / METADATA, json.dumps(metadata, indent=2, ensure_ascii=False) + "\n")
        _write_text(draft / INFERENCE, json.dumps(inference, indent=2, ensure_ascii=False) + "\n")
        _write_text(draft / CARD, card.rstrip() + "\n")
        _write_text(draft / LICENSE, license_text)
        if write_weights is not None:
            write_weights(draft / metadata["otherwise"]["weights"])
        read_bundle(draft)
    return read_bundle(folder)


def refuse_existing(folder: str | Path, replace: bool = False) -> None:
    """Refuse to write to an existing folder. Call this before a long computation.

    Raises:
        BundleError: if the folder exists and is not a bundle that may be replaced.
    """
    folder = Path(folder)
    if not folder.exists():
        return
    if not replace:
        raise BundleError(f"{folder} exists already.", "Choose another name, or allow it to be replaced.")
    if is_occupied(folder) and not (folder / METADATA).is_file():
        raise BundleError(f"{folder} exists and is no bundle, so it is not replaced.", "Choose another name.")


def common_metadata(
    *,
    name: str,
    task: str,
    description: str,
    network_data_format: Mapping[str, Any],
    own: Mapping[str, Any],
    authors: str = "The Otherwise authors",
    copyright: str = "Copyright (c) The Otherwise authors",
    intended_use: str = "Research only; not for clinical use.",
    **more: Any,
) -> dict[str, Any]:
    """Return metadata by MONAI's schema (``SCHEMA``), with the versions of the installed libraries.

    Args:
        name: Name for people.
        task: One line: what the model does.
        description: More about it.
        network_data_format: ``{"inputs": {...}, "outputs": {...}}`` as MONAI's specification has it.
        own: Content of ``otherwise``: ``kind``, ``weights`` and what the kind needs.
        authors: Authors of the model.
        copyright: Copyright line.
        intended_use: Intended use, one sentence.
        more: Further top-level fields, such as ``data_source`` or ``eval_metrics``.
    """
    return {
        "schema": SCHEMA,
        "name": name,
        "version": "1.0.0",
        "changelog": {"1.0.0": "First version"},
        "monai_version": _installed("monai"),
        "pytorch_version": _installed("torch"),
        "numpy_version": _installed("numpy"),
        "optional_packages_version": {"safetensors": _installed("safetensors")},
        "task": task,
        "description": description,
        "authors": authors,
        "copyright": copyright,
        "intended_use": intended_use,
        **more,
        "network_data_format": dict(network_data_format),
        "otherwise": dict(own),
    }


def _installed(package: str) -> str:
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return "unknown"


def _inference_file(folder: Path) -> Path | None:
    """Return the configuration of a bundle; None if there is none.

    Raises:
        BundleError: if there are several.
    """
    found = [folder / name for name in INFERENCE_NAMES if (folder / name).is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise BundleError(f"{folder / 'configs'} holds {names}.", "Keep the one that is meant.")
    return found[0] if found else None


def _check_weights(bundle: Bundle) -> None:
    if not isinstance(bundle.own.get("weights", ""), str | None):
        raise BundleError(f"{bundle.folder / METADATA}: otherwise.weights is no path.", "Name a file in models/.")
    weights = bundle.weights
    if weights is None:
        if {"weights", "callable", "remote"} & set(bundle.own):  # weights: null
            return
        raise BundleError(f"{bundle.folder} holds no weights.", f"Put them at one of {', '.join(USUAL_WEIGHTS)}.")
    if not weights.resolve().is_relative_to(bundle.folder.resolve()):
        raise BundleError(f"The weights of {bundle.folder} lie outside of it ({weights}).", "Put them into models/.")
    if not weights.is_file():
        raise BundleError(f"The weights {weights} are missing.", "Copy the bundle again, weights included.")


def _write_text(path: Path, text: str) -> None:
    # The same bytes on every operating system.
    path.write_text(text, encoding="utf-8", newline="\n")
