"""A fake of the teaching routes (docs/reference/replies.md) that remembers annotations.

It learns when its state is requested: it first replies that it is learning, then that it is done.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from otherwise.annotations.annotation import Annotation
from otherwise.annotations.region import RegionMask
from otherwise.annotations.vocabulary import Term, local_term
from otherwise.images.image import Geometry
from otherwise.images.reading import read_image
from otherwise.images.writing import SegmentInfo, write_label_map
from support.fake_model_versions import FakeModelVersions

EXPLANATION = Path(__file__).parents[1] / "slicer_extension" / "explanation"
"""Of a phantom mammogram, by the shipped models, with several regions to name."""
IMAGE = "mammogram-987654-00001"
MASS = {"scheme": "SCT", "code": "129788004", "meaning": "Mammographic breast mass"}
MARGIN = {"scheme": "99OTHERWISE", "code": "mass-margin", "meaning": "Mass by margin"}
SPICULATED = {"scheme": "SCT", "code": "129742005", "meaning": "Spiculated lesion"}
MARKER = {"scheme": "99OTHERWISE", "code": "marker", "meaning": "Burned-in marker"}
TERMS = [
    {**SPICULATED, "parent": {"scheme": "99OTHERWISE", "code": "mass-margin"}, "spurious": False},
    {**MASS, "parent": None, "spurious": False},
    {**MARGIN, "parent": {"scheme": "SCT", "code": "129788004"}, "spurious": False},
    {**MARKER, "parent": None, "spurious": True},
]
"""Out of order: a child may come before its parent."""
SILENT = "layer3/4"
"""A unit that has no mask."""
OWN_LIMIT = 0.2
"""Overlap from which on every unit answers, where no threshold is sent."""
SOME_REGION = RegionMask(np.ones((1, 1, 1), bool), Geometry((1, 1, 1), np.eye(4)))
"""Stands for every decisive region, of which clients send the label only."""
SAYING = {
    "id", "kind", "author", "image", "session", "explanation", "slice_index", "region", "units", "term", "certain",
    "comment", "withdraws",
}  # fmt: skip


@dataclass
class FakeTeachingServer:
    """The server's memory, and what a test changes of it.

    Attributes:
        notes: What was said, the oldest first, as the server keeps it.
        regions: Of the notes, by id: as they were sent.
        names: What each region of an explanation is called: by (explanation, label).
        losing: So many answers to annotations are lost after they were recorded.
        refusal: Status of annotations that are refused; 0: none is.
        down: No answer at all.
        open_questions: Whether there is anything left to ask.
        slow: Annotations are answered once this is set.
        models: Answers about models and trainings.
    """

    notes: list[dict[str, Any]] = field(default_factory=list)
    regions: dict[str, Any] = field(default_factory=dict)
    names: dict[tuple[str, int], dict[str, str]] = field(default_factory=dict)
    versions: list[dict[str, Any]] = field(default_factory=list)
    chosen: int | None = None
    losing: int = 0
    refusal: int = 0
    down: bool = False
    open_questions: bool = True
    slow: threading.Event = field(default_factory=threading.Event)
    posts: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    marked: list[list[str]] = field(default_factory=list)
    outlined: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    models: FakeModelVersions = field(default_factory=FakeModelVersions)
    _fresh: bool = True

    def __post_init__(self) -> None:
        self.slow.set()

    def __call__(self, visit: Any) -> None:
        """Answer one request."""
        parts = urlsplit(visit.path)
        if self.down:
            visit.handler.connection.close()
            return
        if parts.path.startswith(("/otherwise/models", "/train/")):
            self.models(visit)
            return
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = json.loads(visit.body) if visit.body[:1] == b"{" else {}
        for method, pattern, answer in (
            ("GET", "/otherwise/about", self.models.about),
            ("GET", "/datastore/", lambda: {"objects": {IMAGE: {}}}),
            ("POST", "/otherwise/jobs", lambda: self._job("one")),
            ("GET", "/otherwise/vocabulary", lambda: {"terms": TERMS}),
            ("GET", "/otherwise/annotations", lambda: self._said(int(query.get("since", 0)))),
            ("GET", "/otherwise/concepts", self._concepts),
            ("POST", "/otherwise/concepts/activate", lambda: self._activate(body["version"])),
            ("POST", "/otherwise/concepts/query", lambda: self._query(body)),
            ("GET", "/otherwise/concepts/questions", lambda: self._questions(query)),
        ):
            if (visit.method, parts.path) == (method, pattern):
                visit.json(answer())
                return
        if (visit.method, parts.path) == ("POST", "/otherwise/annotations"):
            self._annotate(visit, body)
        elif found := re.fullmatch(r"/otherwise/concepts/units/layer3/(\d+)/patches/(\d)[.]png", parts.path):
            number = int(found[2])
            visit.send(200, patch(int(found[1]), number)) if number < 4 else self._no(visit, 404)
        elif found := re.fullmatch(r"/otherwise/concepts/units/(layer3/\d+)/contour[.]png", parts.path):
            self.outlined.append((found[1], query.get("explanation"), query.get("label")))
            visit.send(200, map_of_units())
        elif found := re.fullmatch(r"/otherwise/concepts/units/(layer3/\d+)/mask[.]seg[.]nrrd", parts.path):
            if found[1] == SILENT:
                self._no(visit, 404)
            else:
                visit.send(200, mask_of_unit(int(found[1].split("/")[1])))
        elif parts.path == "/otherwise/concepts/map.png":
            self.marked.append(parse_qs(parts.query).get("mark", []))
            visit.send(200, map_of_units())
        elif found := re.fullmatch(r"/otherwise/explanations/([^/]+)", parts.path):
            visit.json(self._explanation(found[1]))
        elif found := re.fullmatch(r"/otherwise/explanations/([^/]+)/(?:files/)?([^/]+)", parts.path):
            names = ", ".join(term["meaning"] for (id, _), term in self._in_use().items() if id == found[1])
            page = f"<p>Names: {names}</p>".encode()
            visit.send(200, page if found[2] == "report.html" else (EXPLANATION / found[2]).read_bytes())
        else:
            self._no(visit, 404)

    def learn(self) -> None:
        """Make a version of what was said."""
        self._fresh = True
        holding = [n for n in self.notes if n["kind"] == "name" and not n["withdrawn"]]
        self.names = {}
        for note in holding:
            label = (self.regions.get(note["id"]) or {}).get("label")
            if label:
                self.names[note["explanation"], label] = note["term"]
        last = self.notes[-1]["number"] if self.notes else 0
        if self.versions and self.versions[0]["version"] == last:
            return
        terms = sorted({note["term"]["meaning"] for note in holding})
        known = set(self.versions[0]["terms"]) if self.versions else set()
        new = ", ".join(sorted(set(terms) - known))
        version = {
            "version": last,
            "created": "2030-01-31T12:00:00+00:00",
            "labels": len(holding),
            "named_share": min(1.0, 0.31 * len(self.names)),
            "accuracy": None if len(holding) < 2 else 0.9,
            "terms": terms,
            "changed": f"New: {new}." if new else "Nothing has a name.",
            "names": dict(self.names),
        }
        self.versions.insert(0, version)

    def _in_use(self) -> dict[tuple[str, int], dict[str, str]]:
        chosen = next((v for v in self.versions if v["version"] == self.chosen), None)
        return chosen["names"] if chosen else (self.versions[0]["names"] if self.versions else {})

    def _job(self, explanation: str) -> dict[str, Any]:
        return {"id": "job", "state": "done", "fraction": 1.0, "result": {"id": explanation}}

    def _no(self, visit: Any, status: int) -> None:
        visit.json({"error": "no", "detail": "The server does not take that.", "hint": "Correct it."}, status)

    def _annotate(self, visit: Any, body: dict[str, Any]) -> None:
        self.posts += 1
        if not self.slow.wait(10) or self.refusal:
            self._no(visit, self.refusal or 500)
            return
        known = next((note for note in self.notes if note["id"] == body["id"]), None)
        if known is None:
            known = self._record(body)
        if self.losing:
            self.losing -= 1
            visit.handler.connection.close()
            return
        visit.json({"number": known["number"], "annotation": known}, 201)

    def _record(self, body: dict[str, Any]) -> dict[str, Any]:
        assert set(body) <= SAYING, set(body) - SAYING
        if body["kind"] == "withdraw":
            assert set(body) <= {"id", "kind", "author", "withdraws", "comment"}
            other = next(note for note in self.notes if note["id"] == body["withdraws"])
            other["withdrawn"] = True
        region, term = body.get("region"), body.get("term")
        mask = None
        if region is not None:
            self.regions[body["id"]] = region
            mask = SOME_REGION if set(region) == {"label"} else RegionMask.from_json(region)
        if term is not None:
            term = Term(**term) if "code" in term else local_term(term["meaning"])
        note = Annotation(
            author=body.get("author", "user"), kind=body["kind"], image=IMAGE, region=mask, term=term, id=body["id"],
            certain=body.get("certain", True), explanation=body.get("explanation", ""),
            withdraws=body.get("withdraws", ""), comment=body.get("comment", ""),
        )  # fmt: skip
        kept = {**note.to_json(), "number": len(self.notes) + 1, "withdrawn": False, "region": None, "units": []}
        self.notes.append(kept)
        self._fresh = False
        return kept

    def _said(self, since: int) -> dict[str, Any]:
        # Two a page.
        return {"head": len(self.notes), "annotations": [n for n in self.notes if n["number"] > since][:2]}

    def _concepts(self) -> dict[str, Any]:
        state = "ready" if self._fresh else "learning"
        content = self._state(state)
        self.learn()
        return content

    def _state(self, state: str) -> dict[str, Any]:
        version = next((v for v in self.versions if v["version"] == self.chosen), (self.versions or [{}])[0])
        terms = {term["meaning"]: term for term in self._in_use().values()}
        regions = list(self._in_use().values())
        return {
            "state": state,
            "detail": "2 of 3 explanations" if state == "learning" else "",
            "version": str(version["version"]) if version else None,
            "active": self.chosen is None,
            "held": "",
            "labels": version.get("labels", 0),
            "named_share": version.get("named_share", 0.0),
            "explained": 2,
            "images": 40,
            "concepts": [
                {"term": t, "regions": regions.count(t), "units": 3, "labels": 1, "share": 0.31} for t in terms.values()
            ],
            "shortcuts": [
                {"term": t, "images": 12, "share_of_images": 0.3} for t in terms.values() if t["code"] == "marker"
            ],
            "strategies": [
                {"name": "random", "title": "Random"},
                {"name": "influence", "title": "What names most of the decisive change"},
            ],
            "versions": [{k: v for k, v in version.items() if k != "names"} for version in self.versions],
        }

    def _activate(self, version: int | str) -> dict[str, Any]:
        assert version == "latest" or version in [v["version"] for v in self.versions]
        self.chosen = None if version == "latest" else int(version)
        return {"active": version}

    def _query(self, body: dict[str, Any]) -> dict[str, Any]:
        assert set(body) <= {"image", "session", "explanation", "slice_index", "region", "threshold"}
        self.asked.append(body)
        votes = [
            {"author": "ann", "term": SPICULATED, "overlap": 0.41, "certain": True},
            {"author": "bob", "term": MARKER, "overlap": 0.22, "certain": False},
        ]
        units = [
            {"unit": "layer3/17", "overlap": 0.62, "name": SPICULATED, "disputed": True, "votes": votes},
            {"unit": "layer3/4", "overlap": 0.35, "name": MASS, "disputed": False, "votes": votes[:1]},
            {"unit": "layer3/40", "overlap": 0.27, "name": None, "disputed": False, "votes": []},
            {"unit": "layer3/9", "overlap": 0.05, "name": None, "disputed": False, "votes": []},
        ]
        for unit in units:
            unit["answers"] = unit["overlap"] > body.get("threshold", OWN_LIMIT)
        answering = sum(unit["answers"] for unit in units)
        return {"units": units, "answering": answering, "name": {"term": MASS, "confidence": 0.83}, "voxels": 40}

    def _questions(self, query: dict[str, str]) -> dict[str, Any]:
        reason = "Its name would speak for 31 % of the decisive change that has none."
        open_ones = [(id, label) for id in ("two", "one") for label in (1, 2) if (id, label) not in self.names]
        questions = [
            {"image": IMAGE, "explanation": id, "label": label, "reason": reason, "strategy": query["strategy"]}
            for id, label in open_ones
        ]
        return {"questions": questions[: int(query["count"])] if self.open_questions else []}

    def _explanation(self, id: str) -> dict[str, Any]:
        content = json.loads((EXPLANATION / "explanation.json").read_text(encoding="utf-8"))
        content["id"] = id
        content["files"] = {k: v for k, v in content["files"].items() if not isinstance(v, list)}
        for region in content["regions"]:
            term = self._in_use().get((id, region["label"]))
            region["concept"] = None
            if term:
                region["concept"] = {**term, "name": term["meaning"], "confidence": 0.9}
        return dict(content)


def map_of_units() -> bytes:
    """A picture as large as the real server draws the map, or a contour, as PNG."""
    from PIL import Image as Picture

    file = io.BytesIO()
    Picture.new("RGB", (460, 460)).save(file, "PNG")
    return file.getvalue()


def mask_of_unit(unit: int) -> bytes:
    """A box of as many voxels along i as the unit's number, on the grid of the explained image, as a segmentation."""
    image = read_image(EXPLANATION / "original.nrrd")
    mask = np.zeros(image.array.shape, np.uint8)
    mask[0, 3 : 3 + unit, 5:9] = 1
    with tempfile.TemporaryDirectory() as folder:
        segment = SegmentInfo(1, f"layer3/{unit}", (0.9, 0.6, 0.0))
        return write_label_map(image.with_array(mask), Path(folder) / "mask.seg.nrrd", [segment]).read_bytes()


def patch(unit: int, number: int) -> bytes:
    """A patch of a phantom with its place marked, as PNG."""
    from PIL import Image as Picture

    from OtherwiseLib.samples import phantoms

    voxels, _ = phantoms.mammogram()
    row, column = 62 + 3 * number, 56 + (unit + 5 * number) % 20
    low, high = np.percentile(voxels, (1, 99.5))
    grey = np.clip((voxels[0, row : row + 48, column : column + 48] - low) / (high - low), 0, 1)
    pixels = np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=2)
    pixels[[16, 32], 16:33] = pixels[16:33, [16, 32]] = (232, 162, 61)
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
