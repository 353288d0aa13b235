"""Checks of what a server needs; ``otherwise doctor`` runs them all."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from otherwise.errors import OtherwiseError

PACKAGE = "slicer-otherwise"
PYTHONS = ((3, 11), (3, 12))
NEEDED = ("torch>=2.10", "monai>=1.5.2", "monailabel>=0.8.5", "pydicom<3", "numpy<2")
"""Known bounds of versions; constraints.txt has a whole tested set."""
LITTLE_ROOM, NO_ROOM = 10 * 2**30, 2**30
"""Free bytes on the disk of the state below which doctor warns, and below which it fails."""
LITTLE_GPU = 4 * 2**30
SOON = timedelta(days=30)
SECONDS = 5.0


@dataclass(frozen=True)
class CheckResult:
    """Result of a check.

    Attributes:
        name: Name of the check.
        state: ``ok``; ``warn``: works with a limitation; ``fail``: does not work.
        what: The finding in one line.
        hint: Remedy; empty where none is needed.
    """

    name: str
    state: Literal["ok", "warn", "fail"]
    what: str
    hint: str = ""


Check = Callable[[], CheckResult]


def examine(name: str, check: Check) -> CheckResult:
    """Run a check; an exception is a failure."""
    try:
        return check()
    except OtherwiseError as error:
        return CheckResult(name, "fail", error.detail, error.hint)
    except Exception as error:
        return CheckResult(name, "fail", f"The check itself failed ({type(error).__name__}).", "Please report this.")


def python() -> CheckResult:
    """Check the version of Python."""
    text = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] in PYTHONS:
        return CheckResult("python", "ok", text)
    return CheckResult("python", "fail", f"{text} is not supported.", "Install Python 3.11 or 3.12.")


def packages(wanted: Iterable[str] | None = None) -> CheckResult:
    """Check the versions of the installed packages.

    Args:
        wanted: Requirements; default: our own, and bounds that are known.
    """
    from packaging.requirements import Requirement

    missing, wrong = [], []
    for text in (*NEEDED, *_declared()) if wanted is None else wanted:
        needed = Requirement(text)
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(needed.name)
        except PackageNotFoundError:
            missing.append(needed.name)
            continue
        if not needed.specifier.contains(found, prereleases=True):
            wrong.append(f"{needed.name} {found} (wanted {needed.specifier})")
    problems = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"unfit: {', '.join(wrong)}"] * bool(wrong)
    if problems:
        return CheckResult(
            "packages", "fail", f"{'; '.join(problems)}.", "Install again: pip install -c constraints.txt ."
        )
    return CheckResult("packages", "ok", f"torch {version('torch')}, monailabel {version('monailabel')}")


def _declared() -> list[str]:
    try:
        return requires(PACKAGE) or []
    except PackageNotFoundError:  # a checkout that is not installed
        return []


def pins(constraints: Path) -> CheckResult:
    """Check whether the installed packages are the tested set.

    Args:
        constraints: The file constraints.txt of this version.
    """
    from packaging.requirements import Requirement

    other = []
    for line in constraints.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            pinned = Requirement(line)
            try:
                found = version(pinned.name)
            except PackageNotFoundError:
                continue  # not every pinned package is needed on every machine
            if not pinned.specifier.contains(found, prereleases=True):
                other.append(f"{pinned.name} {found}")
    if other:
        hint = f"If something fails: pip install -c {constraints.name} ."
        return CheckResult("pins", "warn", f"Other versions than those tested: {', '.join(other)}.", hint)
    return CheckResult("pins", "ok", "the versions that were tested")


def device(name: str) -> CheckResult:
    """Check the device of the models.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """
    import torch

    if not torch.cuda.is_available():
        if name.startswith("cuda"):
            return CheckResult(
                "device", "fail", f"There is no {name}.", "Install a CUDA build of torch and NVIDIA's driver."
            )
        return CheckResult(
            "device", "warn" if name == "auto" else "ok", "CPU", "Explanations are slower than on a GPU."
        )
    if name == "cpu":
        return CheckResult("device", "warn", "CPU, though there is a GPU.", "Give --device auto.")
    where = "cuda" if name == "auto" else name
    free, total = torch.cuda.mem_get_info(where)
    text = f"{torch.cuda.get_device_name(where)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if free < LITTLE_GPU:
        return CheckResult(
            "device", "warn", text, "Other programs use the GPU; what does not fit runs in smaller batches."
        )
    return CheckResult("device", "ok", text)


def models(classifier: str, agent: str) -> CheckResult:
    """Check whether the models load and belong together by their content versions (SHA-256).

    Args:
        classifier: Bundle, or a shipped bundle's name.
        agent: As ``classifier``.
    """
    from otherwise.agent.bundle import load_agent
    from otherwise.blackbox.loading import load_classifier
    from otherwise.explain.explainer import Explainer

    pair = Explainer(load_classifier(classifier, device="cpu"), load_agent(agent, device="cpu"))
    versions = f"{pair.classifier.name} {pair.classifier.version[:8]}, {pair.agent.name} {pair.agent.version[:8]}"
    return CheckResult("models", "ok", versions)


def port(host: str, number: int) -> CheckResult:
    """Check whether the server could listen."""
    from otherwise.cli.options.network import listen

    with listen(host, number):
        return CheckResult("port", "ok", f"{host}:{number} is free")


def room(state: Path) -> CheckResult:
    """Check whether the state folder is writable, and its free space."""
    folder = next(each for each in (state, *state.parents) if each.is_dir())
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"otherwise")
    except OSError as error:
        return CheckResult("state", "fail", f"{state} takes no files ({error.strerror}).", "Give the user the folder.")
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free"
    if free < NO_ROOM:
        return CheckResult("state", "fail", text, "Make room, or give --state on another disk.")
    return CheckResult(
        "state", "warn" if free < LITTLE_ROOM else "ok", text, "Make room." if free < LITTLE_ROOM else ""
    )


def studies(address: str) -> CheckResult:
    """Check whether the images can be reached.

    Args:
        address: Folder, or URL of a DICOMweb server.
    """
    if not address.startswith(("http://", "https://")):
        folder = Path(address)
        if not folder.is_dir():
            return CheckResult(
                "studies", "fail", f"There is no folder {address}.", "Give --studies the images' folder."
            )
        any_file = any(path.is_file() for path in folder.rglob("*"))
        hint = "" if any_file else "Put images in; the server finds them while it runs."
        return CheckResult("studies", "ok" if any_file else "warn", "a folder" if any_file else "an empty folder", hint)
    return _archive(address.rstrip("/"))


def _archive(address: str) -> CheckResult:
    import os

    import requests

    user, secret = (os.environ.get(f"MONAI_LABEL_DICOMWEB_{word}", "") for word in ("USERNAME", "PASSWORD"))
    try:
        reply = requests.get(
            f"{address}/studies",
            params={"limit": "1"},
            headers={"Accept": "application/dicom+json"},
            auth=(user, secret) if user else None,
            timeout=SECONDS,
        )
    except requests.RequestException as error:
        kind = type(error).__name__
        return CheckResult("studies", "fail", f"The archive cannot be reached ({kind}).", "Is it up? Is the URL right?")
    if reply.status_code in (401, 403):
        hint = "Set MONAI_LABEL_DICOMWEB_USERNAME and MONAI_LABEL_DICOMWEB_PASSWORD."
        return CheckResult("studies", "fail", f"The archive lets us not in ({reply.status_code}).", hint)
    if reply.status_code not in (200, 204):
        hint = "The URL has to be that of DICOMweb, as https://archive.example/dicom-web."
        return CheckResult("studies", "fail", f"The archive answers {reply.status_code}.", hint)
    return CheckResult("studies", "ok", "The archive answers")


def database(address: str) -> CheckResult:
    """Check whether annotations can be stored.

    Args:
        address: Path of a SQLite file, or URL.
    """
    from otherwise.annotations.store import AnnotationStore

    if "://" not in address and not Path(address).exists():
        return CheckResult("database", "ok", "made at the first start")
    store = AnnotationStore(address)
    try:
        return CheckResult("database", "ok", f"{store.head()} annotations")
    finally:
        store.close()


def tokens(path: Path) -> CheckResult:
    """Check whether the file of tokens can be used."""
    from otherwise.tokens import Role, read_tokens

    holders = read_tokens(path)
    text = ", ".join(
        f"{sum(each.role == role for each in holders)} {role.name.lower()}" for role in sorted(Role, reverse=True)
    )
    if not any(holder.role == Role.ADMIN for holder in holders):
        return CheckResult(
            "tokens", "warn", text, "Nobody may train or change models: otherwise tokens add NAME --role admin"
        )
    return CheckResult("tokens", "ok", text)


def certificate(path: Path, key: Path | None, now: datetime | None = None) -> CheckResult:
    """Check whether the certificate can be used, and until when.

    Args:
        path: Certificate chain.
        key: Its key.
        now: Default: now.
    """
    from cryptography.x509 import load_pem_x509_certificate

    from otherwise.cli.options.network import tls

    tls(path, key)
    until = load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    left = until - (now or datetime.now(UTC))
    text = f"valid until {until:%Y-%m-%d}"
    if left <= timedelta():
        return CheckResult(
            "certificate", "fail", f"expired on {until:%Y-%m-%d}", "Get a new one; clients refuse this one."
        )
    return CheckResult("certificate", "warn" if left < SOON else "ok", text, "Renew it." if left < SOON else "")
