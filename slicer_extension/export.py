"""Export the extension as a repository of its own, as the Extensions Index takes it.

``python slicer_extension/export.py DIR`` writes the repository into DIR, which must not exist, with one commit, and its
description file beside it. The same sources give the same commit. What the index would refuse is refused here; see
``description_problems`` and ``repository_problems``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).parent
NAME = "CounterfactualExplanations"
LARGEST_BYTES = 5_000_000
"""Of the repository with its history; the index takes 100 MB."""
CATEGORIES = frozenset(
    (
        "Active Learning", "Analysis", "Converters", "DICOM", "Developer Tools", "Informatics", "Quantification",
        "Segmentation",
    )
)  # fmt: skip
"""Some that the index's ``check_description_files.py`` knows; read in August 2026."""
LEFT_OUT = ("__pycache__", "export.py", f"{NAME}.json", "ruff.toml", ".ruff_cache")
EPOCH = "2026-01-01T00:00:00+0000"
"""Date of the commit, so that the same sources give the same commit."""


def export(target: Path) -> Path:
    """Write the repository.

    Args:
        target: A folder that does not exist yet.

    Returns:
        The description file, beside the folder.

    Raises:
        ValueError: if the index would refuse it; says why.
        FileExistsError: if the folder exists.
    """
    shutil.copytree(HERE, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
    shutil.copy(HERE.parent / "LICENSE", target / "LICENSE")
    _copy_pictures(target)
    description = target.with_name(f"{NAME}.json")
    shutil.copy(HERE / f"{NAME}.json", description)
    _commit(target)
    problems = description_problems(json.loads(description.read_text(encoding="utf-8")), description.stem)
    problems += repository_problems(target)
    if problems:
        raise ValueError("\n".join(problems))
    return description


def description_problems(content: dict, name: str) -> list[str]:
    """Return what the index would refuse of a description file, without asking the network.

    Args:
        content: Of the file.
        name: Of the file, without its ending; the name of the extension.
    """
    problems = []
    for key in ("$schema", "category", "scm_url", "scm_revision", "build_dependencies", "build_subdirectory", "tier"):
        if key not in content:
            problems.append(f"{key} is missing.")
    if content.get("category") not in CATEGORIES:
        problems.append(f"The category {content.get('category')!r} is unknown.")
    if content.get("tier") not in (1, 3, 5):
        problems.append(f"The tier {content.get('tier')!r} is not 1, 3 or 5.")
    url = urlsplit(str(content.get("scm_url", "")))
    if url.scheme not in ("git", "https") or not url.netloc:
        problems.append("scm_url is no address.")
    if not url.path.rsplit("/", 1)[-1].startswith("Slicer"):
        problems.append("The name of the repository does not begin with Slicer.")
    if name.lower().startswith("slicer"):
        problems.append("The name of the extension begins with Slicer.")
    return problems


def repository_problems(folder: Path) -> list[str]:
    """Return what the index would refuse of the repository, without asking the network."""
    problems = []
    text = (folder / "CMakeLists.txt").read_text(encoding="utf-8")
    project = re.search(r"project\s*\(\s*([^\s)]+)", text)
    if project is None or project.group(1) != NAME:
        problems.append("The project of CMakeLists.txt has another name than the description file.")
    for key in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS"):
        if not re.search(rf'set\(EXTENSION_{key} "[^"]+"\)', text):
            problems.append(f"EXTENSION_{key} is missing.")
    for path in re.findall(r"/main/(\S+?\.png)", text):
        if not (folder / path).is_file():
            problems.append(f"{path} is announced and not there.")
    for path in ("LICENSE", "README.md"):
        if not (folder / path).is_file():
            problems.append(f"{path} is missing.")
    for path in re.findall(r"\]\(((?!https?:)[^)#]+)\)", (folder / "README.md").read_text(encoding="utf-8")):
        if not (folder / path).is_file():
            problems.append(f"The README shows {path}, which is not there.")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > LARGEST_BYTES:
        problems.append(f"The repository has {size / 1e6:.1f} MB, more than {LARGEST_BYTES / 1e6:.0f}.")
    return problems


def _copy_pictures(folder: Path) -> None:
    """Bring the pictures along that the README and the catalogue show; here they are those of the whole project."""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8").replace("../docs/pictures/", "pictures/")
    readme.write_text(text, encoding="utf-8")
    named = re.findall(r"pictures/(\w+\.png)", text + (folder / "CMakeLists.txt").read_text(encoding="utf-8"))
    (folder / "pictures").mkdir()
    for name in sorted(set(named)):
        shutil.copy(HERE.parent / "docs" / "pictures" / name, folder / "pictures" / name)


def _commit(folder: Path) -> None:
    """Make the folder a repository with one commit that depends on its content alone."""
    person = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (
        ("NAME", "The Otherwise developers"), ("EMAIL", "otherwise@example.org"), ("DATE", EPOCH),
    )}  # fmt: skip
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for command in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        ("commit", "--quiet", "--message=Export the extension"),
    ):
        subprocess.run(["git", *command], cwd=folder, check=True, env={**os.environ, **person, **alone})


def main() -> int:
    """Export into the folder that the command line names."""
    if len(sys.argv) != 2:
        print("Usage: python slicer_extension/export.py DIR", file=sys.stderr)
        return 2
    target = Path(sys.argv[1])
    if target.exists():
        print(f"{target} is there already. Give a folder that does not exist.", file=sys.stderr)
        return 1
    try:
        description = export(target)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{target}: the repository\n{description}: its description file, for the Extensions Index")
    return 0


if __name__ == "__main__":
    sys.exit(main())
