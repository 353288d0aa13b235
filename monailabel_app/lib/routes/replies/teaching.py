"""Replies of ``/otherwise/annotations``, ``/otherwise/vocabulary`` and ``/otherwise/concepts``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lib.routes.replies.base import Reply


class TermReply(Reply):
    """A coded term."""

    scheme: str = Field(description="Designator of the coding scheme, such as SCT or RADLEX")
    code: str
    meaning: str


class TermKeyReply(Reply):
    """Scheme and code of a term."""

    scheme: str
    code: str


class VocabularyTermReply(TermReply):
    """A term of the vocabulary."""

    parent: TermKeyReply | None
    spurious: bool = Field(description="Whether it names something that should not decide, such as a marker")


class VocabularyReply(Reply):
    """All terms."""

    terms: list[VocabularyTermReply]


class RegionSizeReply(Reply):
    """A region of an annotation, without its voxels."""

    voxels: int


class ModelVersionsReply(Reply):
    """The models that were in use when something was said."""

    classifier: str
    agent: str
    concepts: str


class AnnotationReply(Reply):
    """An annotation."""

    schema_: str = Field(alias="schema")
    id: str
    created: str = Field(description="ISO 8601 time")
    author: str
    kind: str = Field(description="name, not-this, cannot-tell, disagree or withdraw")
    image: str
    image_sha256: str
    slice_index: int | None
    region: RegionSizeReply | None
    units: list[str]
    term: TermReply | None
    certain: bool
    models: ModelVersionsReply
    explanation: str = Field(description="Id of the explanation that it is about, or empty")
    withdraws: str = Field(description="Id of the annotation that it withdraws, or empty")
    comment: str


class RecordedReply(Reply):
    """An annotation that has been recorded."""

    number: int
    annotation: AnnotationReply


class ListedAnnotationReply(AnnotationReply):
    """An annotation of the list."""

    number: int
    withdrawn: bool


class AnnotationsReply(Reply):
    """Annotations, the oldest first."""

    head: int = Field(description="Number of the last annotation")
    annotations: list[ListedAnnotationReply]


class VoteReply(Reply):
    """One person's name for a unit."""

    author: str
    term: TermReply
    overlap: float = Field(description="Intersection over union of the unit and the person's region")
    certain: bool


class UnitAnswerReply(Reply):
    """A unit that overlaps a region."""

    unit: str
    overlap: float = Field(description="Intersection over union, from 0 to 1")
    answers: bool = Field(description="Whether the overlap exceeds the unit's limit")
    name: TermReply | None
    disputed: bool
    votes: list[VoteReply]


class FindingReply(Reply):
    """A name of a region."""

    term: TermReply
    confidence: float = Field(description="From 0 to 1")
    evidence: str = Field(description="said, finding or likeness")


class QueryReply(Reply):
    """Units and names of a region."""

    units: list[UnitAnswerReply]
    answering: int = Field(description="Units that answer")
    name: FindingReply | None
    findings: list[FindingReply]
    voxels: int


class ConceptReply(Reply):
    """A term in use."""

    term: TermReply
    regions: int
    units: int
    labels: int
    share: float = Field(description="Share of all decisive change, from 0 to 1")


class ShortcutReply(Reply):
    """A spurious term that decides."""

    term: TermReply
    images: int
    share_of_images: float


class DoubtfulReply(Reply):
    """A label that the other labels make unlikely."""

    annotation: str
    author: str
    image: str
    explanation: str
    label: int | None
    term: TermReply | None
    probability: float


class KappaReply(Reply):
    """Agreement of two readers on one term."""

    term: TermReply
    kappa: float = Field(description="Cohen's kappa")


class AgreementReply(Reply):
    """Agreement of two readers."""

    readers: list[str]
    regions: int = Field(description="Regions that both have named")
    terms: list[KappaReply]


class StrategyReply(Reply):
    """A way to choose questions."""

    name: str
    title: str


class NamesVersionReply(Reply):
    """One version of the names."""

    version: int
    created: str = Field(description="ISO 8601 time")
    labels: int
    named_share: float
    accuracy: float | None = Field(description="Share of held-out names that are right")
    terms: list[str]
    changed: str


class ConceptsReply(Reply):
    """The state of teaching."""

    state: str = Field(description="ready, learning or waiting")
    detail: str
    version: str | None
    active: bool = Field(description="Whether the latest version is in use")
    held: str = Field(description="The reason for an older version, or empty")
    labels: int
    named_share: float
    explained: int
    images: int
    concepts: list[ConceptReply]
    shortcuts: list[ShortcutReply]
    doubtful: list[DoubtfulReply]
    agreement: list[AgreementReply]
    warnings: list[str]
    strategies: list[StrategyReply]
    versions: list[NamesVersionReply]


class ActivatedReply(Reply):
    """The version of the names that is in use from now on."""

    active: NamesVersionReply | Literal["latest"]


class UnitReply(Reply):
    """A unit on the map of units."""

    unit: str
    place: list[float] = Field(description="Coordinates on the map")
    name: TermReply | None
    disputed: bool
    patches: int = Field(description="Patches that can be asked for")


class UnitsReply(Reply):
    """All units."""

    images: int = Field(description="Images that the statistics are taken from")
    units: list[UnitReply]


class QuestionReply(Reply):
    """A region whose name would help."""

    image: str
    explanation: str
    label: int
    reason: str
    strategy: str


class QuestionsReply(Reply):
    """Regions whose names would help most."""

    questions: list[QuestionReply]


class FoundRegionReply(Reply):
    """A decisive region of an explanation."""

    image: str
    explanation: str
    label: int
    share: float = Field(description="Share of all decisive change")
    findings: list[FindingReply]


class SearchReply(Reply):
    """Regions that show a term."""

    terms: list[TermReply]
    total: int
    regions: list[FoundRegionReply]


class SimilarRegionReply(FoundRegionReply):
    """A region and its distance from the one that was asked about."""

    distance: float


class SimilarReply(Reply):
    """Similar regions of other images, the nearest first."""

    regions: list[SimilarRegionReply]


class TrainingRequestReply(Reply):
    """The training that was asked for."""

    model: str


class LearningReply(Reply):
    """The state of learning, as MONAI Label's ``/train/{model}`` replies."""

    status: str = Field(description="DONE or RUNNING")
    request: TrainingRequestReply
    version: str | None
