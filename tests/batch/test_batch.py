"""A whole archive: each image once, whatever is wrong with one of them, and again only what is not there yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow.parquet
import pytest
from filelock import FileLock

from otherwise.batch.errors import BatchError
from otherwise.batch.executor import ImageOutcome, InProcess, Task
from otherwise.batch.run import Summary, _key, run_batch
from otherwise.batch.worker import BatchOrder, LoadedModels
from otherwise.errors import AgentError, BundleError, ImageError
from otherwise.explain.explainer import Explainer
from otherwise.explain.explanation import SCHEMA, ModelRef
from otherwise.explain.request import ExplainRequest
from otherwise.finding.scan import Scan
from otherwise.images.image import Image
from otherwise.images.listing import FoundImage
from otherwise.report.folder import read_explanation

pytestmark = pytest.mark.usefixtures("one_attempt")


def run(archive: Path, out: Path, order: BatchOrder) -> Summary:
    return run_batch(archive, out, InProcess(order), order.request)


def rows(summary: Summary) -> dict[str, dict]:
    return {row["image"]: row for row in pyarrow.parquet.read_table(summary.table).to_pylist()}


class StoppedInTime(InProcess):
    """Is told to stop just when an image has been finished, and nobody has been told so yet."""

    def run(self, tasks: Iterable[Task], progress: Callable[[float], None]) -> Iterator[ImageOutcome]:
        next(super().run(tasks, progress))
        raise KeyboardInterrupt
        yield


def test_an_explanation_without_later_options_keeps_the_name_that_earlier_versions_gave() -> None:
    models = LoadedModels(ModelRef("c", "1"), ModelRef("a", "2"), ("benign", "malignant"))
    earlier = {
        "target": None, "seed": 0, "slice_index": None, "projection": None, "find": 1, "centre": None, "noise": 0.0,
        "scan": {"overlap": None, "share": None, "foreground": None, "fine": True}, "whole": False,
    }  # fmt: skip
    parts = json.dumps([SCHEMA, "0" * 64, "1", "2", earlier], sort_keys=True)
    assert _key("0" * 64, models, ExplainRequest()) == hashlib.sha256(parts.encode()).hexdigest()[:32]
    later = [ExplainRequest(tolerance=2.0), ExplainRequest(scan=Scan(muscle=False)), ExplainRequest()]
    assert len({_key("0" * 64, models, request) for request in later}) == 3


def test_what_was_finished_when_the_run_was_stopped_is_in_the_table(
    archive: Path, order: BatchOrder, tmp_path: Path
) -> None:
    summary = run_batch(archive, tmp_path / "out", StoppedInTime(order), order.request)
    assert not summary.finished
    assert list(rows(summary)) == ["a.nrrd"]
    assert (tmp_path / "out" / rows(summary)["a.nrrd"]["folder"] / "explanation.json").is_file()
    assert run(archive, tmp_path / "out", order).kept == 1


def test_every_image_of_an_archive_has_one_row(archive: Path, order: BatchOrder, tmp_path: Path) -> None:
    summary = run(archive, tmp_path / "out", order)
    assert (summary.images, summary.explained, summary.failed, summary.duplicates) == (4, 2, 1, 1)
    assert summary.finished
    table = pyarrow.parquet.read_table(summary.table)
    assert table.schema.metadata[b"schema"] == b"otherwise.batch/1"
    assert table["image"].to_pylist() == ["a.nrrd", "broken.nrrd", "deep/b.nii.gz"]
    found = rows(summary)

    first = found["a.nrrd"]
    assert first["status"] == "explained"
    assert first["duplicates"] == ["deep/copy of a.nrrd"]
    explanation = read_explanation(tmp_path / "out" / first["folder"])
    assert first["sha256"] == explanation.image_sha256 == explanation.volumes.original.sha256
    assert first["label"] == "dark"
    assert first["probabilities"] == explanation.prediction.probabilities
    assert first["target"] == "bright"
    assert first["valid"] is explanation.counterfactual.valid
    assert first["probability_after"] == explanation.counterfactual.probabilities["bright"]
    assert first["changed_fraction"] == explanation.counterfactual.changed_fraction
    assert first["l1"] == explanation.counterfactual.l1
    assert first["regions"] == len(explanation.regions)
    assert first["centroid_ras"] == (list(explanation.regions[0].centroid_ras) if explanation.regions else None)
    assert first["queries"] == explanation.queries
    assert first["classifier_version"] == explanation.classifier.version
    assert found["deep/b.nii.gz"]["label"] == "bright"

    broken = found["broken.nrrd"]
    assert broken["status"] == "failed"
    assert broken["error"] == "image"
    assert broken["detail"].startswith("broken.nrrd cannot be")
    assert broken["hint"]
    assert broken["folder"] is None
    assert len(list((tmp_path / "out" / "explanations").iterdir())) == 2


def test_what_is_explained_is_not_explained_again(
    archive: Path, order: BatchOrder, tmp_path: Path, draw: Callable[..., Path]
) -> None:
    out = archive / "results"  # its own results are no images
    before = rows(run(archive, out, order))
    draw(archive / "broken.nrrd", 0.6, seed=9)
    (archive / "deep" / "b.nii.gz").rename(archive / "d.nii.gz")
    reported: list[float] = []
    summary = run_batch(archive, out, InProcess(order), order.request, lambda stage, part: reported.append(part))
    assert (summary.images, summary.explained, summary.kept, summary.failed) == (4, 3, 2, 0)
    after = rows(summary)
    assert after["a.nrrd"] == before["a.nrrd"]
    assert after["d.nii.gz"] == {**before["deep/b.nii.gz"], "image": "d.nii.gz"}
    assert after["broken.nrrd"]["status"] == "explained"
    assert reported == sorted(reported)
    assert reported[-1] == 1.0


def test_another_question_is_another_explanation(
    archive: Path, order: BatchOrder, tmp_path: Path, asking: Callable[..., BatchOrder]
) -> None:
    out = tmp_path / "out"
    before = rows(run(archive, out, order))
    summary = run(archive, out, asking(target="bright"))
    assert summary.kept == 0
    after = rows(summary)
    assert after["a.nrrd"]["folder"] != before["a.nrrd"]["folder"]
    # An image that is bright already has no way to become so.
    assert after["deep/b.nii.gz"]["error"] == "classifier"
    assert "bright already" in after["deep/b.nii.gz"]["detail"]


def test_a_damaged_explanation_is_made_again(archive: Path, order: BatchOrder, tmp_path: Path) -> None:
    before = rows(run(archive, tmp_path / "out", order))
    damaged = tmp_path / "out" / before["a.nrrd"]["folder"]
    (damaged / "explanation.json").write_bytes(b"")  # as a power failure may leave it
    summary = run(archive, tmp_path / "out", order)
    assert (summary.kept, summary.explained) == (1, 2)
    assert read_explanation(damaged).prediction.label == "dark"


def test_what_cannot_work_is_refused_before_the_work(
    archive: Path, order: BatchOrder, tmp_path: Path, asking: Callable[..., BatchOrder]
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no image in empty"):
        run(tmp_path / "empty", tmp_path / "out", order)
    with pytest.raises(ImageError, match="no file or folder nowhere"):
        run(tmp_path / "nowhere", tmp_path / "out", order)
    with pytest.raises(BatchError, match="something else in deep"):
        run(archive, archive / "deep", order)
    with pytest.raises(BundleError, match="no bundle"):
        run(archive, tmp_path / "out", BatchOrder("none", "none", "cpu", order.request))
    with pytest.raises(AgentError, match="another classifier"):
        run(archive, tmp_path / "out", BatchOrder("mammogram_classifier", order.agent, "cpu", order.request))
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(BatchError, match="Another run"):
        run(archive, tmp_path / "out", order)


def test_a_full_disk_stops_it_and_keeps_what_is_there(
    archive: Path, order: BatchOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otherwise.batch import worker
    from otherwise.images.atomic import WriteError

    write, written = worker.write_explanation, []

    def fills_up(explanation: object, folder: Path, **options: bool) -> Path:
        if written:
            raise WriteError("No space is left.", "Free some.")
        written.append(folder)
        return write(explanation, folder, **options)

    monkeypatch.setattr(worker, "write_explanation", fills_up)
    with pytest.raises(WriteError, match="same command again"):
        run(archive, tmp_path / "out", order)
    table = pyarrow.parquet.read_table(tmp_path / "out" / "results.parquet").to_pylist()
    assert [row["image"] for row in table if row["status"] == "explained"] == ["a.nrrd"]
    monkeypatch.undo()
    assert run(archive, tmp_path / "out", order).kept == 1


def test_an_error_that_nobody_expected_is_one_row_without_its_words(
    archive: Path, order: BatchOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otherwise.batch import worker

    read = worker.read_for_explanation

    def fails(explainer: Explainer, found: FoundImage, request: ExplainRequest) -> Image:
        if found.id == "b":
            raise RuntimeError("/somewhere/Jane Doe")
        return read(explainer, found, request)

    monkeypatch.setattr(worker, "read_for_explanation", fails)
    summary = run(archive, tmp_path / "out", order)
    assert summary.explained == 1
    row = rows(summary)["deep/b.nii.gz"]
    assert row["error"] == "unexpected"
    assert "Jane" not in json.dumps(row)
    assert "RuntimeError" in row["detail"]
