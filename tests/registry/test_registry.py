"""Versions of models: immutable, found again, chosen, rolled back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.registry.registry import AGENT, Model, PairVersion, Registry, RegistryError, pair_id


def version(number: int, **more: object) -> PairVersion:
    classifier, agent = f"{number:064x}", f"{number + 100:064x}"
    made = PairVersion(
        id=pair_id(classifier, agent),
        created=f"2026-11-22T08:00:{number:02d}+00:00",
        classifier=Model("classifier", classifier, "mammogram_classifier"),
        agent=Model("agent", agent, "mammogram_agent"),
    )
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def test_an_empty_folder_has_no_versions_and_no_choice(registry: Registry) -> None:
    assert registry.all() == []
    assert registry.active().id == ""


def test_a_version_comes_back_as_it_was_and_never_changes(registry: Registry) -> None:
    first = version(1, images=30, before={"validity": 0.9}, after={"validity": 0.95}, note="better")
    registry.add(first)
    assert registry.get(first.id) == first
    registry.add(replace(first, note="something else"))
    assert registry.get(first.id).note == "better"


def test_a_trained_agent_moves_into_its_version(registry: Registry, tmp_path: Path) -> None:
    bundle = tmp_path / "draft"
    bundle.mkdir()
    (bundle / "weights").write_text("1")
    made = version(1, agent=Model("agent", "2" * 64, AGENT))
    registry.add(made, bundle)
    assert not bundle.exists()
    assert (Path(registry.path(made, made.agent)) / "weights").read_text() == "1"
    assert registry.path(made, made.classifier) == "mammogram_classifier"


def test_going_back_undoes_choices_one_by_one(registry: Registry) -> None:
    versions = [registry.add(version(number)) for number in range(3)]
    for each in versions:
        registry.activate(each.id, f"chosen {each.id}")
    registry.activate(versions[2].id)  # once more changes nothing
    assert registry.active().reason == f"chosen {versions[2].id}"
    assert registry.roll_back().id == versions[1].id
    assert registry.roll_back().id == versions[0].id
    with pytest.raises(RegistryError, match="no earlier version"):
        registry.roll_back()


@pytest.mark.parametrize("id", ["", "0" * 16, "../../etc", "Z" * 16])
def test_what_is_no_version_cannot_be_chosen(registry: Registry, id: str) -> None:
    with pytest.raises(RegistryError, match="no version"):
        registry.activate(id)


def test_damage_is_named(registry: Registry) -> None:
    made = registry.add(version(1))
    (registry.root / made.id / "record.json").write_text("{")
    with pytest.raises(RegistryError, match="damaged"):
        registry.all()
    (registry.root / "active.json").write_text("[]")
    with pytest.raises(RegistryError, match=r"Remove active\.json"):
        registry.active()


def test_the_command_line_lists_chooses_and_rolls_back(registry: Registry, tmp_path: Path) -> None:
    one, two = registry.add(version(1)), registry.add(version(2, after={"validity": 0.95}, note="better"))

    def run(*words: str) -> str:
        result = CliRunner().invoke(build(), ["models", *words, "--state", str(tmp_path)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert run("activate", one.id) == f"In use: {one.id}\n"
    assert run("activate", two.id) == f"In use: {two.id}\n"
    listed = run("list")
    assert f"* {two.id}" in listed
    assert f"  {one.id}" in listed
    assert "validity 0.95" in listed
    assert json.loads(run("list", "--json"))["active"]["former"] == [one.id]
    assert run("rollback") == f"In use: {one.id}\n"


def test_a_pair_of_bundles_is_kept_until_somebody_activates_it(registry: Registry, tmp_path: Path) -> None:
    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(build(), ["models", *words, "--state", str(tmp_path)])
        return result.exit_code, result.output + str(result.exception or "")

    pair = ("--classifier", "mammogram_classifier", "--agent", "mammogram_agent", "--note", "dropped in")
    code, output = run("add", *pair)
    assert code == 0, output
    (version,) = registry.all()
    assert output == f"Kept: {version.id}\n"
    assert (version.note, version.classifier.reference) == ("dropped in", "mammogram_classifier")
    assert registry.active().id == ""
    assert run("add", *pair) == (0, output)
    assert len(registry.all()) == 1
    code, output = run("add", "--classifier", "lidc_classifier", "--agent", "mammogram_agent")
    assert code != 0
    assert "taught by another classifier" in output
