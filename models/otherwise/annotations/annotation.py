"""One annotation. It is never changed; a withdrawal is another annotation."""

from __future__ import annotations

import json
import re
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Literal, get_args

from otherwise.annotations.region import MOST_VOXELS, RegionMask
from otherwise.annotations.vocabulary import Term
from otherwise.errors import OtherwiseError

SCHEMA = "otherwise.annotation/1"
MOST_UNITS = 4_096
"""Most units that one gesture names."""

Kind = Literal["name", "not-this", "cannot-tell", "disagree", "withdraw"]

_ID = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_IMAGE = re.compile(r"(?![.]{1,2}$)[^/\\]{1,255}")
_EXPLANATION = re.compile(r"(?![.])[A-Za-z0-9._-]{1,128}")
_UNIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,127}/[0-9]{1,6}")
_MODEL = re.compile(r"[^@]{1,128}@[^@]{1,128}")


class AnnotationError(OtherwiseError):
    """Something is not a valid annotation."""

    code = "annotation"
    status = 422


@dataclass(frozen=True)
class ModelVersions:
    """The models whose explanation was shown, each as ``name@version``; empty where there was none."""

    classifier: str = ""
    agent: str = ""
    concepts: str = ""

    def __post_init__(self) -> None:
        for item in fields(self):
            _check_text(f"models.{item.name}", getattr(self, item.name), 257, _MODEL, empty=True)


def new_id() -> str:
    """Return a unique id for a new annotation."""
    return uuid.uuid4().hex


def now() -> str:
    """Return the time in the form of annotations: ISO 8601, UTC, microseconds."""
    return _timestamp(datetime.now(UTC))


@dataclass(frozen=True)
class Annotation:
    """An annotation: its author, time, image and content, and the models whose explanation was shown.

    Attributes:
        author: The person who wrote it.
        kind: ``name``: this region, or these units, show that term. ``not-this``: this region does not show that term.
            ``cannot-tell``: the reader cannot tell whether this region shows that term or, without a term, any.
            ``disagree``: this explanation is wrong. ``withdraw``: that other annotation is taken back.
        image: Id of the image.
        image_sha256: Content version of the image (:attr:`otherwise.images.image.Image.sha256`); empty if unknown.
        slice_index: The slice along k that it is about; None for the whole image.
        region: The place, on the smallest box of its own grid that holds it; ``region.on(geometry)`` puts it on the
            image.
        units: Ids of feature maps, such as ``layer3/17``.
        term: What it is.
        certain: Whether the author is sure.
        models: What answered at the time.
        explanation: Id of the explanation that was looked at, or empty.
        withdraws: Id of the annotation that is taken back, or empty.
        comment: Free words, at most 4,000 characters.
        id: 32 hexadecimal digits. Clients may choose it, so that a repeated request is not recorded twice.
        created: Time, in the form of :func:`now`.

    Raises:
        AnnotationError: if a value is of another type, too long or outside its grammar, or something that the kind
            needs is missing, or that it must not have is there.
    """

    author: str
    kind: Kind
    image: str
    image_sha256: str = ""
    slice_index: int | None = None
    region: RegionMask | None = None
    units: tuple[str, ...] = ()
    term: Term | None = None
    certain: bool = True
    models: ModelVersions = field(default_factory=ModelVersions)
    explanation: str = ""
    withdraws: str = ""
    comment: str = ""
    id: str = field(default_factory=new_id)
    created: str = field(default_factory=now)

    def __post_init__(self) -> None:
        _check_text("id", self.id, 32, _ID)
        _check_time(self.created)
        _check_text("author", self.author, 128)
        _check_text("image", self.image, 255, _IMAGE)
        _check_text("image_sha256", self.image_sha256, 64, _SHA256, empty=True)
        _check_text("explanation", self.explanation, 128, _EXPLANATION, empty=True)
        _check_text("withdraws", self.withdraws, 32, _ID, empty=True)
        _check_text("comment", self.comment, 4_000, empty=True, lines=True)
        if self.slice_index is not None and not (type(self.slice_index) is int and 0 <= self.slice_index < 2**31):
            raise _wrong("slice_index is no number of a slice")
        if type(self.certain) is not bool:
            raise _wrong("certain is neither true nor false")
        if type(self.units) is not tuple or len(self.units) > MOST_UNITS:
            raise _wrong(f"units is no list of at most {MOST_UNITS} units")
        if not all(isinstance(unit, str) and _UNIT.fullmatch(unit) for unit in self.units):
            raise _wrong("a unit is not of the form layer3/17")
        if len(set(self.units)) < len(self.units):
            raise _wrong("a unit is there twice")
        for name, kind in (("region", RegionMask), ("term", Term), ("models", ModelVersions)):
            value = getattr(self, name)
            if not isinstance(value, kind) and (value is not None or name == "models"):
                raise _wrong(f"{name} is no {kind.__name__}")
        self._check_kind()
        if self.region is not None:
            region = self.region.cropped()
            if region.mask.size > MOST_VOXELS:  # it could not be read again
                raise _wrong(f"the region spans more than {MOST_VOXELS} voxels")
            object.__setattr__(self, "region", region)

    def _check_kind(self) -> None:
        if self.kind not in get_args(Kind):
            raise _wrong(f"kind is none of {', '.join(get_args(Kind))}")
        if self.kind == "name" and (self.term is None or not (self.region or self.units)):
            raise _wrong("a name needs a term, and a region or units")
        if self.kind == "not-this" and (self.term is None or self.region is None):
            raise _wrong("not-this needs a term and a region")
        if self.kind == "cannot-tell" and self.region is None:
            raise _wrong("cannot-tell needs a region")
        if self.kind == "disagree" and not self.explanation:
            raise _wrong("to disagree needs the explanation's id")
        if (self.kind == "withdraw") != bool(self.withdraws):
            raise _wrong("withdraws belongs to the kind withdraw, and to no other")
        if self.kind == "withdraw" and (self.term or self.region or self.units):
            raise _wrong("to withdraw needs no term, region or units")
        if self.withdraws == self.id:
            raise _wrong("it withdraws itself")

    @classmethod
    def from_json(cls, value: Any, most_voxels: int = MOST_VOXELS) -> Annotation:
        """Read what :meth:`to_json` wrote.

        Args:
            value: Decoded JSON from anywhere. Only ``author``, ``kind`` and ``image`` must be there.
            most_voxels: See :meth:`RegionMask.from_json`.

        Raises:
            AnnotationError: if it is no annotation; keys that annotations lack are refused.
            RegionError: if the region is none.
            VocabularyError: if the term is none.
        """
        content = _object("annotation", value, {item.name for item in fields(cls)} | {"schema"})
        if content.pop("schema", SCHEMA) != SCHEMA:
            raise AnnotationError(f"The annotation's schema is not {SCHEMA}.", "Update Otherwise.")
        missing = [name for name in ("author", "kind", "image") if name not in content]
        if missing:
            raise _wrong(f"{missing[0]} is missing")
        if content.get("region") is not None:
            content["region"] = RegionMask.from_json(content["region"], most_voxels)
        if content.get("term") is not None:
            term = _object("term", content["term"], {"scheme", "code", "meaning"}, all_of_them=True)
            content["term"] = Term(**term)
        if "models" in content:
            content["models"] = ModelVersions(
                **_object("models", content["models"], {item.name for item in fields(ModelVersions)})
            )
        if "units" in content:
            if not isinstance(content["units"], list) or not all(isinstance(unit, str) for unit in content["units"]):
                raise _wrong("units is no list of texts")
            content["units"] = tuple(content["units"])
        return cls(**content)

    def to_json(self) -> dict[str, Any]:
        """Return the annotation as :func:`schema` describes it, with every key present."""
        term, models = self.term, self.models
        return {
            "schema": SCHEMA,
            "id": self.id,
            "created": self.created,
            "author": self.author,
            "kind": self.kind,
            "image": self.image,
            "image_sha256": self.image_sha256,
            "slice_index": self.slice_index,
            "region": None if self.region is None else self.region.to_json(),
            "units": list(self.units),
            "term": None if term is None else {"scheme": term.scheme, "code": term.code, "meaning": term.meaning},
            "certain": self.certain,
            "models": {"classifier": models.classifier, "agent": models.agent, "concepts": models.concepts},
            "explanation": self.explanation,
            "withdraws": self.withdraws,
            "comment": self.comment,
        }

    @classmethod
    def from_text(cls, text: str | bytes, most_voxels: int = MOST_VOXELS) -> Annotation:
        """Read one line of :meth:`to_text`; raises like :meth:`from_json`, also if it is no JSON."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise AnnotationError("This is no JSON.", "Give one annotation as JSON.") from error
        return cls.from_json(value, most_voxels)

    def to_text(self) -> str:
        """Return one line of JSON; equal annotations give equal text."""
        return json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def withdrawal(annotation: Annotation, author: str, comment: str = "") -> Annotation:
    """Take an annotation back."""
    return Annotation(
        author=author,
        kind="withdraw",
        image=annotation.image,
        image_sha256=annotation.image_sha256,
        withdraws=annotation.id,
        comment=comment,
    )


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 7) of :meth:`Annotation.to_json`."""
    text = (files("otherwise.annotations") / "annotation.schema.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def _object(name: str, value: Any, keys: set[str], *, all_of_them: bool = False) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(f"{name} is no object")
    unknown = sorted(set(value) - keys)
    if unknown:
        raise _wrong(f"{name} has the unknown key {unknown[0][:40]!r}")
    if all_of_them and set(value) < keys:
        raise _wrong(f"{name} lacks {sorted(keys - set(value))[0]}")
    return dict(value)


def _check_text(
    name: str,
    value: Any,
    longest: int,
    grammar: re.Pattern[str] | None = None,
    *,
    empty: bool = False,
    lines: bool = False,
) -> None:
    if not isinstance(value, str):
        raise _wrong(f"{name} is no text")
    if not value.strip():
        if empty and not value:
            return
        raise _wrong(f"{name} is empty")
    if len(value) > longest:
        raise _wrong(f"{name} has more than {longest} characters")
    if not value.isprintable() and any(_is_unreadable(letter) for letter in value if not (lines and letter in "\t\n")):
        raise _wrong(f"{name} has characters that nobody can read")
    if grammar is not None and not grammar.fullmatch(value):
        raise _wrong(f"{name} is not of its form")


def _is_unreadable(letter: str) -> bool:
    """Return whether a character is a control character or a lone surrogate, which databases refuse."""
    return unicodedata.category(letter) in ("Cc", "Cs")


def _timestamp(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")


def _check_time(created: Any) -> None:
    try:
        # Parsed and written alike: one form, so that texts sort as times do.
        good = _timestamp(datetime.fromisoformat(created).astimezone(UTC)) == created
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise _wrong("created is no time such as 2030-01-31T12:00:00.000000+00:00")


def _wrong(what: str) -> AnnotationError:
    return AnnotationError(f"This is no annotation: {what}.", "Correct it and send it again.")
