"""Finished explanations are served by id, file by file, and nothing beside them is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from otherwise.images.reading import read_image

if TYPE_CHECKING:
    from conftest import Running


@pytest.fixture
def explained(running: Running) -> dict[str, object]:
    content: dict[str, object] = running.infer("explain", image="bright one", output="json").json()
    return content


def test_the_whole_folder_can_be_fetched(running: Running, explained: dict, tmp_path: Path) -> None:
    base = f"/otherwise/explanations/{explained['id']}"

    stored = running.get(base).json()
    assert {key: explained[key] for key in stored} == stored
    original = read_image(running.studies / "bright one.nrrd")
    for kind in ("counterfactual", "difference", "effect", "regions"):
        name = explained["files"][kind]
        (tmp_path / name).write_bytes(running.get(f"{base}/files/{name}").content)
        assert read_image(tmp_path / name).geometry.same_as(original.geometry)
    assert not list((running.state / "explanations").glob(".*")), "nothing half-written stays behind"


def test_the_report_is_a_page_that_may_load_nothing(running: Running, explained: dict) -> None:
    reply = running.get(f"/otherwise/explanations/{explained['id']}/report.html")

    assert reply.headers["content-type"].startswith("text/html")
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "allow-same-origin" not in policy, "sandboxed, the page cannot ask this server for anything"
    assert "bright one" in reply.text


@pytest.mark.parametrize("name", ["..", "../secret", "secret.nrrd", ".hidden", "a/b", "explanation.json/..", "x" * 200])
def test_there_is_no_way_out_of_an_explanation(running: Running, explained: dict, name: str) -> None:
    for address in (
        f"{explained['id']}/files/{quote(name, safe='')}",
        quote(name, safe=""),
        f"{quote(name, safe='')}/report.html",
    ):
        reply = running.get(f"/otherwise/explanations/{address}")
        assert reply.status_code == 404
        assert set(reply.json()) == {"error", "detail", "hint"}


@pytest.mark.skipif(os.name == "nt", reason="links need privileges there")
def test_a_planted_link_opens_nothing(running: Running, explained: dict) -> None:
    folder = running.state / "explanations" / str(explained["id"])
    (folder / "link.nrrd").symlink_to(running.studies.parent / "secret.nrrd")

    assert running.get(f"/otherwise/explanations/{explained['id']}/files/link.nrrd").status_code == 404


def test_about_says_what_runs(running: Running) -> None:
    about = running.get("/otherwise/about").json()

    assert {"otherwise", "monailabel", "monai", "torch"} <= set(about["versions"])
    (classifier,) = about["classifiers"]
    assert classifier["classes"] == ["benign", "malignant"]
    assert classifier["version"] == "c0ffee"
    assert classifier["inputs"]["size"] == [8, 6]
    assert about["agents"][0]["version"] == "decade"
    assert about["devices"][0]["name"] == "cpu"
    assert about["limits"]["upload_bytes"] == 1024 * 1024
    assert str(running.state) not in json.dumps(about), "paths are nobody's business"


def test_our_routes_are_documented(running: Running) -> None:
    paths = running.get("/openapi.json").json()["paths"]
    assert {"/infer/{model}", "/otherwise/about", "/otherwise/health", "/otherwise/explanations/{id}"} <= set(paths)


def test_the_report_is_printed_when_it_is_first_asked_for(running: Running, explained: dict) -> None:
    address = f"/otherwise/explanations/{explained['id']}/report.pdf"
    first, second = running.get(address), running.get(address)
    assert first.headers["content-type"] == "application/pdf"
    assert first.content.startswith(b"%PDF")
    assert first.content == second.content
    assert running.get("/otherwise/explanations/none/report.pdf").status_code == 404
