"""From what a client sends to an annotation: whose, of which image, which region, which term."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lib.settings.params import MAX_SLICES, ParamsError
from lib.storage.owners import Caller, NotYoursError, check_visible
from lib.teaching.service import TeachingService
from lib.teaching.superseded import refuse_superseded
from otherwise.annotations.annotation import Annotation, ModelVersions, new_id, withdrawal
from otherwise.annotations.region import RegionMask
from otherwise.annotations.store import AnnotationConflictError, UnknownAnnotationError
from otherwise.annotations.vocabulary import Term, local_term
from otherwise.concepts.activations import ImageActivations
from otherwise.concepts.embedding import embeddings_of
from otherwise.concepts.query import NAMING_OVERLAP, matching_units
from otherwise.explain.explanation import Explanation, ModelRef
from otherwise.images.image import Geometry, Image
from otherwise.tokens import Role

MOST_FINER = 8
"""A region on a grid of so many times the image's voxels is kept on the image's own grid."""

ReadSession = Callable[[str, Caller], Image]
"""Reads the image of a session; raises if it is not there or somebody else's."""

RegionBody = dict[str, Any]
"""``{label}`` of a decisive region, ``{polygon}`` of RAS points, or a mask as ``RegionMask.to_json`` writes it."""


class SubjectReference(BaseModel):
    """What something is said, or asked, of: an explanation, an image of the studies, or one of a session."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field("", max_length=255, description="Id of an image of the studies")
    session: str = Field("", max_length=64, description="Id of a session")
    explanation: str = Field("", max_length=128, description="Id of an explanation; goes before an image")
    slice_index: int | None = Field(None, ge=0, le=MAX_SLICES)


class ConceptQuery(SubjectReference):
    """Which units answer to a region?"""

    region: RegionBody
    threshold: float | None = Field(
        None, ge=0, le=1, description="Least overlap, exclusive; without it each unit has a limit of its own"
    )


class AnnotationRequest(SubjectReference):
    """The body of a new annotation."""

    id: str = Field(default_factory=new_id, description="Chosen by the client, so that a repeat is not recorded twice")
    kind: str
    author: str = Field("", max_length=128, description="Used where nobody has to log in")
    region: RegionBody | None = None
    units: list[str] = Field(default_factory=list)
    term: dict[str, Any] | None = None
    certain: bool = True
    comment: str = ""
    withdraws: str = ""


@dataclass(frozen=True)
class Subject:
    """What an annotation or a question is about.

    Attributes:
        image: Id.
        sha256: Content of the image.
        native: Its grid.
        found: The image, or an explanation of it.
        key: What identifies it to ``ActivationCache.look``.
    """

    image: str
    sha256: str
    native: Geometry
    found: Image | Explanation
    key: str

    @property
    def original(self) -> Image:
        """The image itself."""
        return self.found.volumes.original if isinstance(self.found, Explanation) else self.found

    @property
    def explanation(self) -> str:
        """Id of the explanation, or empty."""
        return self.found.id if isinstance(self.found, Explanation) else ""


def resolve_subject(
    teaching: TeachingService, about: SubjectReference, session: ReadSession, caller: Caller
) -> Subject:
    """Find the image and region of an annotation.

    Args:
        teaching: Knows explanations and images.
        about: As sent.
        session: Reads the image of a session.
        caller: Who asks.

    Raises:
        OtherwiseError: if it is not there, belongs to somebody else, or an explanation is of superseded models.
    """
    if about.explanation:
        check_visible(teaching.host.owners, about.explanation, caller)
        explanation = teaching.explanation(about.explanation)
        refuse_superseded(teaching.host.classifier, explanation)
        native = explanation.volumes.original.geometry
        key = f"explanation {explanation.id}"
        return Subject(explanation.image_id, explanation.image_sha256, native, explanation, key)
    if about.session:
        image = session(about.session, caller)
    elif about.image:
        image = teaching.images.read(about.image)
    else:
        raise ParamsError("Neither explanation, image nor session is given.", "Send one of them.")
    key = f"image {image.id} {image.sha256} {about.slice_index}"
    return Subject(image.id, image.sha256, image.geometry, image, key)


def make_region(body: RegionBody, about: Subject) -> RegionMask:
    """Understand a region.

    Raises:
        OtherwiseError: if it is none, is empty, or lies outside the image.
    """
    if set(body) == {"label"}:
        if not isinstance(about.found, Explanation):
            raise ParamsError("A label names a region of an explanation.", "Send the explanation's id with it.")
        volume, label = about.found.volumes.regions, body["label"]
        known = isinstance(label, int) and not isinstance(label, bool) and 0 < label < 256
        mask = volume.array[0] == label if known else np.zeros(volume.geometry.shape, bool)
        if not mask.any():
            raise ParamsError(f"The explanation has no region {str(label)[:16]!r}.", "Its JSON lists them.")
        return RegionMask(mask, volume.geometry)
    if set(body) == {"polygon"}:
        return RegionMask.from_polygon(body["polygon"], about.native)
    region = RegionMask.from_json(body).cropped()
    # What lies outside is refused, and what is drawn so much finer than the image that it would only fill memory.
    on_image = region.on(about.native)
    return on_image if region.mask.size > MOST_FINER * np.prod(about.native.shape) else region


def make_term(body: dict[str, Any], teaching: TeachingService) -> Term:
    """Understand a term: one of the vocabulary by scheme and code, or free words.

    Raises:
        VocabularyError: if the vocabulary has no such term, or the words are no term.
    """
    if set(body) == {"meaning"}:
        words = body["meaning"] if isinstance(body["meaning"], str) else ""
        same = [term for term in teaching.vocabulary if term.meaning.casefold() == words.strip().casefold()]
        return same[0] if same else local_term(words)
    scheme, code = body.get("scheme"), body.get("code")
    if not isinstance(scheme, str) or not isinstance(code, str) or set(body) - {"scheme", "code", "meaning"}:
        raise ParamsError("A term is neither scheme and code nor a meaning.", "GET /otherwise/vocabulary lists terms.")
    free = local_term(body["meaning"]) if isinstance(body.get("meaning"), str) else None
    if free is not None and (free.scheme, free.code) == (scheme, code):
        return free
    return teaching.vocabulary.find(scheme, code)


def make_annotation(
    body: AnnotationRequest, teaching: TeachingService, author: str, session: ReadSession, caller: Caller
) -> Annotation:
    """Make an annotation of a request.

    Args:
        body: As sent.
        teaching: What is known.
        author: Who is logged in, or calls themselves so.
        session: Reads the image of a session.
        caller: Who asks. Administrators may take back what others said.

    Raises:
        OtherwiseError: naming what is wrong.
    """
    if body.kind == "withdraw":
        if body.region or body.term or body.units or body.image or body.session or body.explanation:
            raise ParamsError("To withdraw needs the id of an annotation, and nothing else.", "Leave the rest out.")
        other = teaching.annotations.get(body.withdraws)
        if other.id in teaching.annotations.withdrawn() and not _repeats(teaching, body):
            raise AnnotationConflictError("That has been taken back already.", "There is nothing left to take back.")
        if other.author != author and caller.role != Role.ADMIN:
            raise NotYoursError("Somebody else said that.", "Only they, or an administrator, can take it back.")
        return replace(withdrawal(other, author, body.comment), id=body.id)
    about = resolve_subject(teaching, body, session, caller)
    classifier, agent = teaching.host.classifier_ref, teaching.host.agent_ref
    taught = teaching.taught
    return Annotation(
        author=author,
        kind=body.kind,  # type: ignore[arg-type]
        image=about.image,
        image_sha256=about.sha256,
        slice_index=body.slice_index,
        region=make_region(body.region, about) if body.region else None,
        units=tuple(body.units),
        term=make_term(body.term, teaching) if body.term else None,
        certain=body.certain,
        models=ModelVersions(_model(classifier), _model(agent), f"names@{taught.version}" if taught else ""),
        explanation=about.explanation,
        withdraws=body.withdraws,
        comment=body.comment,
        id=body.id,
    )


def _repeats(teaching: TeachingService, body: AnnotationRequest) -> bool:
    """Return whether a client sends again what was recorded, since it did not hear the answer."""
    try:
        return teaching.annotations.get(body.id).withdraws == body.withdraws
    except UnknownAnnotationError:
        return False


def answer(
    teaching: TeachingService, look: ImageActivations, image: Image, region: RegionMask, threshold: float | None
) -> dict[str, Any]:
    """Return what the units, and the names, say of a region: the reply to a query.

    Args:
        teaching: What has been taught.
        look: The image as the units see it.
        image: The same in its own unit.
        region: Asked about.
        threshold: Least overlap of a unit that answers, exclusive; None: its own limit, see ``answering_limits``.

    Raises:
        OtherwiseError: if the region lies where the classifier does not look.
    """
    mask = look.place(region)
    names = look.maps.names
    matches = matching_units(look.levels, names, mask, 0.0)
    taught = teaching.taught
    limits = taught.unit_limits if taught else np.full(len(names), NAMING_OVERLAP)
    least = limits if threshold is None else np.full(len(names), threshold)
    units = []
    for match in matches[:100]:
        name = taught.units.get(match.unit) if taught else None
        votes = [
            {"author": v.author, "term": asdict(v.term), "overlap": round(v.overlap, 4), "certain": v.certain}
            for v in (name.votes if name else ())
        ]
        units.append(
            {
                "unit": match.unit,
                "overlap": round(match.overlap, 4),
                "answers": bool(match.overlap > least[match.index]),
                "name": asdict(name.term) if name else None,
                "disputed": bool(name and name.disputed),
                "votes": votes,
            }
        )
    found = taught.findings_of_region(embeddings_of(look.maps, [mask]), image, region) if taught else ()
    findings = [
        {"term": asdict(name.term), "confidence": round(name.confidence, 4), "evidence": name.evidence}
        for name in found
    ]
    return {
        "units": units,
        "answering": sum(bool(match.overlap > least[match.index]) for match in matches),
        "name": findings[0] if findings else None,
        "findings": findings,
        "voxels": int(mask.sum()),
    }


def _model(model: ModelRef) -> str:
    return f"{model.name}@{model.version}"
