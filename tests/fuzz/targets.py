"""What is fuzzed: from a number to an input, and what must come of it."""

from __future__ import annotations

import base64
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fuzz.files import dicom_series, image_files
from fuzz.mutating import mutate, mutate_json, packed, with_checksums

MOST_BYTES = 2**24
"""Voxels that a fuzzed header may declare."""
IMAGES = ("nifti", "nrrd", "metaimage", "png", "jpeg", "tiff", "dicom", "encapsulated")
BODIES = ("params", "kept", "body", "region", "polygon", "vocabulary")
NAMES = (*IMAGES, "series", *BODIES)
WEIGHTS = {**dict.fromkeys(NAMES, 8), "encapsulated": 2, "series": 4}
"""How many inputs each gets of a run: those of several files, and of another process, take far longer."""


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        make: From dice to an input.
        ask: Gives an input to the parser; returns, or raises ``OtherwiseError``. Whatever else it raises is a fault.
    """

    make: Callable[[random.Random], Any]
    ask: Callable[[Any], None]


def target(name: str, folder: Path) -> Target:
    """Prepare a target.

    Args:
        name: One of ``NAMES``.
        folder: Empty; for its files.
    """
    if name in IMAGES:
        return _images(name, folder)
    if name == "series":
        return _series(folder)
    return {
        "params": _params,
        "kept": _kept,
        "body": _body,
        "region": _region,
        "polygon": _polygon,
        "vocabulary": lambda: _vocabulary(folder),
    }[name]()


def _images(kind: str, folder: Path) -> Target:
    from otherwise.images.listing import list_images
    from otherwise.images.reading import read_image

    seeds = tuple((path.suffix, path.read_bytes()) for path in image_files(kind, folder))
    contents = tuple(content for _, content in seeds)

    def make(dice: random.Random) -> tuple[str, bytes]:
        ending, content = dice.choice(seeds)
        content = mutate(content, contents, dice)
        if kind == "nifti" and dice.random() < 0.3:
            return ".nii.gz", packed(content, dice)
        return ending, with_checksums(content) if kind == "png" and dice.random() < 0.7 else content

    def ask(given: tuple[str, bytes]) -> None:
        path = folder / f"input{given[0]}"
        path.write_bytes(given[1])
        if "dcm" in given[0]:
            list_images(path.parent, empty=True)
        image = read_image(path, max_bytes=MOST_BYTES)
        assert image.array.nbytes <= 8 * MOST_BYTES
        assert image.array.shape[1:] == image.geometry.shape

    return Target(make, ask)


def _series(folder: Path) -> Target:
    from otherwise.images.listing import list_images
    from otherwise.images.reading import read_image

    series = folder / "series"
    series.mkdir()
    files = dicom_series(series)
    seeds = tuple(path.read_bytes() for path in files)

    def make(dice: random.Random) -> list[bytes]:
        return [mutate(seed, seeds, dice) if dice.random() < 0.5 else seed for seed in seeds]

    def ask(given: list[bytes]) -> None:
        for path, content in zip(files, given, strict=True):
            path.write_bytes(content)
        list_images(series, empty=True)
        read_image(series, max_bytes=MOST_BYTES)

    return Target(make, ask)


def _text(dice: random.Random, value: Any) -> str:
    """JSON, mostly well formed."""
    text = json.dumps(mutate_json(value, dice))
    return mutate(text.encode(), (), dice).decode("latin-1") if dice.random() < 0.3 else text


def _params() -> Target:
    from lib.settings.params import one_of, parse, place, refuse_unknown, whole_number

    seed = {"seed": 1, "slice_index": "auto", "target": "malignant", "centre": [1.0, 2.0, 3.0], "client_id": "me"}

    def ask(given: str) -> None:
        params = parse(given)
        refuse_unknown(params, [*seed])
        one_of(params, "target", ("benign", "malignant"))
        whole_number(params, "seed", 0, 2**31 - 1)
        place(params, "centre")

    return Target(lambda dice: _text(dice, seed), ask)


def _kept() -> Target:
    from lib.stock_routes.json_limits import parse_object

    seed = {"label_info": [{"name": "mass", "idx": 1, "color": [1, 2, 3]}], "note": "x", "numbers": [0.5, 2, None]}

    def ask(given: str) -> None:
        # What is let through can be kept and sent back.
        json.dumps(parse_object("params", given), ensure_ascii=False, allow_nan=False).encode()

    return Target(lambda dice: _text(dice, seed), ask)


def _regions() -> tuple[Any, dict[str, Any]]:
    from otherwise.annotations.region import RegionMask
    from otherwise.images.image import Geometry

    grid = Geometry((6, 5, 4), np.diag([1.0, 1.0, 2.0, 1.0]))
    mask = np.zeros((6, 5, 4), bool)
    mask[2:4, 2:4, 1:3] = True
    return grid, RegionMask(mask, grid).to_json()


def _region() -> Target:
    from otherwise.annotations.region import RegionMask

    grid, seed = _regions()

    def make(dice: random.Random) -> Any:
        if dice.random() < 0.2:
            packed = zlib.compress(dice.randbytes(dice.choice((0, 1, 15, 16, 1000, 10**6))))
            return {**seed, "voxels": base64.b64encode(packed).decode()}
        return mutate_json(seed, dice)

    def ask(given: Any) -> None:
        region = RegionMask.from_json(given, 2**20).cropped()
        region.on(grid)
        RegionMask.from_json(region.to_json(), 2**20)

    return Target(make, ask)


def _polygon() -> Target:
    from otherwise.annotations.region import RegionMask

    grid, _ = _regions()
    seed = [[0.0, 0.0, 2.0], [4.0, 0.0, 2.0], [4.0, 4.0, 2.0], [0.0, 4.0, 2.0]]

    def ask(given: Any) -> None:
        RegionMask.from_polygon(given, grid)

    return Target(lambda dice: mutate_json(seed, dice), ask)


def _body() -> Target:
    from pydantic import ValidationError

    from lib.routes.jobs import JobBody
    from lib.settings.params import ParamsError
    from lib.teaching.annotation_requests import AnnotationRequest, ConceptQuery
    from otherwise.annotations.annotation import Annotation, ModelVersions
    from otherwise.annotations.region import RegionMask
    from otherwise.annotations.vocabulary import local_term

    _, region = _regions()
    job = {"kind": "explain", "image": "dark", "session": "", "explanation": "", "params": {"seed": 1}}
    query = {"image": "dark", "slice_index": 0, "region": region, "threshold": 0.1}
    saying = {"kind": "name", "author": "me", "image": "dark", "slice_index": 0, "region": region, "units": ["down2/3"]}
    saying |= {"term": {"meaning": "mass"}, "certain": True, "comment": "", "withdraws": "", "id": "0" * 32}

    def make(dice: random.Random) -> tuple[str, Any]:
        kind, seed = dice.choice((("job", job), ("query", query), ("saying", saying), ("saying", saying)))
        return kind, mutate_json(seed, dice)

    def ask(given: tuple[str, Any]) -> None:
        kind, value = given
        try:
            body = {"job": JobBody, "query": ConceptQuery, "saying": AnnotationRequest}[kind].model_validate(value)
        except ValidationError as error:
            raise ParamsError(str(error.errors()[0]["msg"]), "Correct it.") from None
        if isinstance(body, AnnotationRequest):
            note = Annotation(
                author=body.author,
                kind=body.kind,  # type: ignore[arg-type]
                image=body.image,
                image_sha256="0" * 64,
                slice_index=body.slice_index,
                region=RegionMask.from_json(body.region, 2**20) if body.region else None,
                units=tuple(body.units),
                term=local_term(str(body.term.get("meaning"))) if body.term else None,
                certain=body.certain,
                models=ModelVersions("c@1", "a@1", ""),
                explanation=body.explanation,
                withdraws=body.withdraws,
                comment=body.comment,
                id=body.id,
            )
            json.dumps(note.to_json(), ensure_ascii=False, allow_nan=False).encode()

    return Target(make, ask)


def _vocabulary(folder: Path) -> Target:
    from otherwise.annotations.vocabulary import load_vocabulary

    seed = [
        {"scheme": "RADLEX", "code": "RID1", "meaning": "mass"},
        {"scheme": "RADLEX", "code": "RID2", "meaning": "spiculated mass", "parent": "RID1"},
    ]
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )

    def make(dice: random.Random) -> bytes:
        if dice.random() < 0.01:
            return bomb.encode()
        # No surrogates: YAML's writer cannot write them either.
        text = yaml.safe_dump(json.loads(json.dumps(mutate_json(seed, dice)).replace("\\ud800", "?")))
        return mutate(text.encode(), (), dice) if dice.random() < 0.6 else text.encode()

    def ask(given: bytes) -> None:
        path = folder / "terms.yaml"
        path.write_bytes(given)
        load_vocabulary([str(path)])

    return Target(make, ask)
