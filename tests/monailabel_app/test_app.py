"""The app by itself: options, MONAI Label's own callers, and a start that fails in one line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI

from otherwise.errors import OtherwiseError

if TYPE_CHECKING:
    from conftest import Running


@pytest.fixture
def options(app_class: Any) -> Any:
    return importlib.import_module("lib.settings.options")


def test_batch_inference_goes_through_the_worker(running: Running) -> None:
    request = {
        "model": "explain",
        "images": ["dark", "bright one"],
        "device": "cuda",
        "max_workers": 1,
        "logging": "INFO",
    }

    result = running.app.batch_infer(request)

    assert result["dark"]["params"]["target"] == "malignant"
    assert result["bright one"]["params"]["target"] == "benign"
    assert running.explainer.threads == {"otherwise-cpu"}
    assert (running.studies / "labels" / "original" / "dark.nrrd").is_file(), "the stock caller saves the label map"


def test_a_caller_in_the_process_gets_the_stock_result(running: Running) -> None:
    result = running.app.infer({"model": "explain", "image": "dark"})
    try:
        assert Path(result["file"]).read_bytes().startswith(b"NRRD")
    finally:
        Path(result["file"]).unlink()
    assert result["params"]["label_names"] == {"region 1": 1}
    assert running.app.infer({"model": "classify", "image": "dark"})["file"] is None


def test_a_caller_in_the_process_cannot_name_a_path_either(running: Running) -> None:
    with pytest.raises(OtherwiseError, match="no image"):
        running.app.infer({"model": "classify", "image": str(running.studies / "dark.nrrd")})


def test_state_lies_beside_the_studies_and_not_among_them(options: Any, tmp_path: Path) -> None:
    read = options.Options.read({}, str(tmp_path / "studies"))

    assert read.state == tmp_path / "studies-otherwise"
    assert (read.classifier, read.agent, read.device) == ("mammogram_classifier", "mammogram_agent", "auto")


@pytest.mark.parametrize(
    "conf",
    [
        {"classifer": "x"},
        {"trust_code": "perhaps"},
        {"upload_mib": "0"},
        {"upload_mib": "many"},
        {"dicomweb_search": "Modality"},
        {"dicomweb_cache_mib": "0"},
    ],
)
def test_slips_in_the_options_are_told(options: Any, conf: dict[str, str]) -> None:
    with pytest.raises(options.OptionError, match=next(iter(conf))):
        options.Options.read(conf, "studies")


def test_settings_come_from_the_command_line_the_environment_or_the_default(
    options: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {
        "CLASSIFIER": "theirs",
        "STATE": str(tmp_path / "state"),
        "TRUST_CODE": "yes",
        "UPLOAD_MIB": "7",
        "VOCABULARY": "birads,terms.yaml",
        "DICOMWEB_SEARCH": "Modality=MG,00100020=1",
        "STORE_TO": "PACS@archive:104",
        "KEEP_DAYS": "2.5",
        "WAITING": "",
    }
    for key, value in given.items():
        monkeypatch.setenv(f"OTHERWISE_{key}", value)
    read = options.Options.read({"upload_mib": "9", "agent": ""}, "studies")
    assert (read.classifier, read.state, read.trust_code) == ("theirs", tmp_path / "state", True)
    assert (read.upload_mib, read.agent, read.waiting) == (9, "mammogram_agent", 32)
    assert read.vocabulary == ("birads", "terms.yaml")
    assert read.dicomweb_search == {"Modality": "MG", "00100020": "1"}
    assert (read.store_to.host, read.keep_days) == ("archive", 2.5)
    monkeypatch.setenv("OTHERWISE_UPLOAD_MIB", "much")
    with pytest.raises(options.OptionError, match="OTHERWISE_UPLOAD_MIB") as caught:
        options.Options.read({}, "studies")
    assert "\n" not in str(caught.value)


def test_all_settings_are_documented(options: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "admin" / "configuration.md").read_text(encoding="utf-8")
    for key, field in options.Options.model_fields.items():
        assert field.description
        assert key == "studies" or f"`{key}`" in page, key


def test_studies_on_a_server_need_a_state_folder(options: Any) -> None:
    with pytest.raises(options.OptionError, match="state DIR"):
        options.Options.read({}, "http://localhost/dicom-web")


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "cuda:x", "cpu:1"])
def test_devices_that_are_not_there(options: Any, name: str) -> None:
    with pytest.raises(options.OptionError):
        options.choose_device(name)


def test_routes_go_in_front_and_are_replaced_when_the_app_is_made_anew(app_class: Any) -> None:
    install = importlib.import_module("lib.install.server").install
    server, routers = FastAPI(), [APIRouter(), APIRouter()]
    stock = list(server.router.routes)
    for number, router in enumerate(routers):
        router.add_api_route("/infer", lambda number=number: number)

    install(server, routers[:1])
    (first,) = server.router.routes[: -len(stock)]
    install(server, routers[1:])
    (second,) = server.router.routes[: -len(stock)]

    assert server.router.routes == [second, *stock]
    assert second is not first


def test_a_missing_bundle_ends_the_start_in_one_line_of_words(app_class: Any, tmp_path: Path) -> None:
    conf = {"classifier": str(tmp_path / "nothing"), "state": str(tmp_path / "state"), "device": "cpu"}

    with pytest.raises(OtherwiseError) as caught:
        app_class("unused", str(tmp_path / "studies"), conf)

    assert "nothing" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert getattr(sys, "tracebacklimit", None) is None, "outside the server's loop tracebacks stay as they were"
