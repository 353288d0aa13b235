"""What the documentation tells people to type and to read is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from otherwise.cli import build

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```(?:bash|powershell)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
CELL = re.compile(r"(?<!\\)\|")


RUN = (
    ("otherwise phantoms nodule --count 3 --seed 5 --out nodules", "nodules/images/nodule-5-00000.nii.gz"),
    (
        "otherwise explain nodules/images/nodule-5-00000.nii.gz "
        "--classifier nodule_classifier --agent nodule_agent --out explanation",
        "explanation/explanation.json",
    ),
    ("otherwise classify DIR --classifier my_classifier --out answers.csv", "answers.csv"),
    ("otherwise classifier check my_classifier --images DIR", None),
    ("otherwise classifier check my_classifier --images DIR --expected answers.csv", None),
    ("otherwise tokens add ann --role annotator --tokens tokens.txt", "tokens.txt"),
)
"""Commands that run in seconds without a network, in this order, and a file that each makes. Other commands of the
docs start servers, train, or need data; the tests of their rooms run those."""
MEANT = {"DIR": "nodules/images", "my_classifier": "nodule_classifier"}
"""What the docs' placeholders stand for here."""


def commands() -> list[Any]:
    """All commands of ``otherwise`` in blocks of code."""
    found = []
    for page in PAGES:
        for _, block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                words = re.split(r"\s#\s|&&|;", line)
                typed = [
                    part[part.index("otherwise ") :] for part in words if re.search(r"(^|[\s/\\])otherwise ", part)
                ]
                found += [pytest.param(text.strip(), id=f"{page.stem}: {text.strip()[:50]}") for text in typed]
    return found


@pytest.mark.parametrize("text", commands())
def test_commands_and_options_exist(text: str) -> None:
    words = shlex.split(text)[1:]
    command: Any = typer.main.get_command(build())
    while hasattr(command, "commands"):
        assert words, f"{text}: a command of the group is missing"
        assert words[0] in command.commands, f"{text}: there is no {words[0]}"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known | {"--help"}


@pytest.mark.long
def test_commands_run_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first explanation of the README, and commands of the guides on the same images with shipped models."""
    monkeypatch.chdir(tmp_path)
    typed = {text for each in commands() for text in each.values}
    for text, made in RUN:
        assert text in typed, f"{text}: no page says this any more"
        words = [MEANT.get(word, word) for word in shlex.split(text)[1:]]
        result = CliRunner().invoke(build(), words)
        assert result.exit_code == 0, f"{text}: {result.output}{result.exception or ''}"
        assert made is None or Path(made).is_file(), f"{text}: {made} is missing"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    generated = {"cli.md", "http.md"}
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists() or Path(target).name in generated, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_row_of_a_table_has_the_cells_of_its_head(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", line):
            columns, at = len(CELL.split(line)), number - 1
            while at < len(lines) and lines[at].startswith("|"):
                assert len(CELL.split(lines[at].rstrip())) == columns, f"line {at + 1}: {lines[at][:80]}"
                at += 1


def test_the_walks_of_the_architecture_lead_to_files() -> None:
    page = (ROOT / "docs" / "contributing" / "architecture.md").read_text(encoding="utf-8")
    rooms = ("models/otherwise", "monailabel_app/lib", "monailabel_app", "slicer_extension/Otherwise")
    cells = [CELL.split(line)[3] for line in page.splitlines() if len(CELL.split(line)) == 5]
    files = [name for cell in cells for name in re.findall(r"`([\w/]+\.py)`", cell)]
    assert len(files) > 40
    for name in files:
        assert any((ROOT / room / name).is_file() for room in rooms), name


def test_the_registries_named_for_contributors_are_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|[^|]+\| `([\w/]+/)` \| `(\w+)` in `([\w/]+\.py)` \|", page, re.MULTILINE)
    assert len(rows) >= 7
    for folder, name, file in rows:
        assert (ROOT / folder).is_dir(), folder
        assert re.search(rf"^{name}\b.* = ", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), f"{file}: {name}"


def test_the_summary_of_the_benchmark_repeats_figures_of_the_suites() -> None:
    """A figure of the summary stands on the page of its suite, so that neither is changed alone."""
    summary = ROOT / "docs" / "benchmark" / "index.md"
    rows = re.findall(r"^\| \[.*?\]\((.+?\.md)\)(.*)$", summary.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 5
    for name, cells in rows:
        suite = (summary.parent / name).read_text(encoding="utf-8")
        figures = re.findall(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w.-]|\d)", cells)
        assert len(figures) >= 8
        for figure in figures:
            assert re.search(rf"(?<![\d.]){re.escape(figure)}(?!\.?\d)", suite), f"{name}: {figure}"


def test_the_readme_is_short_and_names_one_command_for_the_tests() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 120
    assert re.search(r"^python3 -m venv \.venv && .*'\.\[test\]' && \.venv/bin/pytest$", readme, re.MULTILINE)
