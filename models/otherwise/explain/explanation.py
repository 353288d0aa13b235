"""The content of an explanation: numbers for ``explanation.json``, and volumes on the original's own grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

from otherwise.annotations.vocabulary import Term
from otherwise.blackbox.decision import DecisionRule
from otherwise.explain.value import ValueAnswer
from otherwise.images.image import Geometry, Image
from otherwise.warning import AnswerWarning

SCHEMA = "otherwise.explanation/1"
VALUE_SCHEMA = "otherwise.explanation/2"
"""Schema of explanations of a value; those of classes are as before."""

LOOKED_AT = {2: 2**20, 3: 2**22}
"""Most voxels, in 2-D and in 3-D, of images that are only looked at: the path, the alternatives, the minimal change."""

Probabilities = dict[str, float]
"""Class name to probability, in the classifier's order."""


@dataclass(frozen=True)
class ModelRef:
    """Name and content version of a model."""

    name: str
    version: str


@dataclass(frozen=True)
class Prediction:
    """The black box's answer for one image."""

    label: str
    probabilities: Probabilities


@dataclass(frozen=True)
class PathPoint:
    """One image on the way from the original (strength 0) over the boundary and beyond.

    Attributes:
        strength: Strength of the edit; 0: none. Edits by flow: the time from which the flow is followed, in (0, 1].
            Other edits: movement in latent space; 1 reaches the student's boundary.
        probabilities: The black box's answer.
        flipped: Whether the black box says the target; None in explanations of earlier versions.
    """

    strength: float
    probabilities: Probabilities
    flipped: bool | None = None


@dataclass(frozen=True)
class Counterfactual:
    """An image that should flip the black box, with its answer and its distance from the original.

    Attributes:
        valid: Whether the black box's answer is the target. Nothing else decides this.
        probabilities: The black box's answer for it.
        changed_fraction: Share of the voxels that differ by more than the reconstruction floor, in [0, 1].
        l1: Mean absolute change as a share of the classifier's intensity window.
        realism: Share of the agent's own reconstructions that look no more like real images to it, in [0, 1]; None
            where it was not measured.
    """

    valid: bool
    probabilities: Probabilities
    changed_fraction: float
    l1: float
    realism: float | None = None


@dataclass(frozen=True)
class Region:
    """A connected region whose change decides.

    Attributes:
        label: Its value in the label map ``regions``; 1 is the strongest.
        centroid_ras: Centre of mass in RAS millimetres; None where the image does not say how large its pixels are.
        volume_mm3: Volume (of a plane: area times slice thickness); None likewise.
        effect: Measured change of the black box's log-odds towards the target: the mean of putting only this region in
            and leaving only this region out. Of a value: in its unit.
        sufficient: Putting only this region of the change into the original flips the black box.
        necessary: Leaving only this region out of the change un-flips it.
        above_floor: Its change exceeds the autoencoder's own reconstruction error; below it is no evidence.
        concept: ``{name, scheme, code, confidence}`` once it has a name, else None. The scheme is the designator of
            the code's coding scheme; where it is absent or None the code is private to Otherwise. The confidence is in
            [0, 1], or None if it was not measured. It is the first of the findings.
        findings: All that the region shows, each ``{name, scheme, code, confidence, evidence, disputed}``: evidence is
            "said" by a reader of this region, "finding" where it was learned from other regions, or "likeness".
        voxels: How many voxels (of a picture: pixels) of the image it has; None in explanations of earlier versions.
        centroid_index: Centre of mass as a voxel index ``(i, j, k)``, from 0; None likewise.
        area_mm2: Area in a plane; None likewise, of a volume, and in explanations of earlier versions.
    """

    label: int
    centroid_ras: tuple[float, ...] | None
    volume_mm3: float | None
    effect: float
    sufficient: bool
    necessary: bool
    above_floor: bool
    concept: dict[str, object] | None = None
    voxels: int | None = None
    centroid_index: tuple[float, ...] | None = None
    findings: tuple[dict[str, object], ...] = ()
    area_mm2: float | None = None


@dataclass(frozen=True)
class ConceptEntry:
    """One concept of an explanation, with its figures.

    Attributes:
        term: The concept; None: what has no name yet.
        units: How many units carry the name.
        activation: Mean over these units of the strongest activation in the image, in standard deviations above the
            data set's mean.
        area: Mean over these units of the overlap (intersection over union) of their masks with the decisive regions.
        regions: Labels of the decisive regions that show it.
        effect: Measured change of the black box's log-odds towards the target by these regions: their sum.
        share: Share of the decisive change, in [0, 1].
    """

    term: Term | None
    units: int
    activation: float
    area: float
    regions: tuple[int, ...]
    effect: float
    share: float


@dataclass(frozen=True)
class Concepts:
    """The named concepts of an explanation.

    Attributes:
        version: Of the names.
        named_share: Share of the regions' decisive change that has a name, in [0, 1].
        entries: The concept with the greatest effect first; what has no name last. A region with several findings
            counts for each of them.
        in_regions: Share of the effect for the target that lies in the regions, in [0, 1]; the rest is spread outside.
    """

    version: str
    named_share: float
    entries: tuple[ConceptEntry, ...]
    in_regions: float = 1.0


@dataclass(frozen=True, eq=False)
class Seen:
    """The image as the classifier sees it.

    Attributes:
        image: Values in [0, 1] on the classifier's own grid.
        window: Values in the image's own units that became 0 and 1.
        below: Share of the voxels that lay under the window, in [0, 1].
        above: Share of the voxels that lay over it.
        contract: What the network wants beyond that, one sentence.
    """

    image: Image
    window: tuple[float, float]
    below: float
    above: float
    contract: str


@dataclass(frozen=True)
class Volumes:
    """The images of an explanation, on the original's own grid.

    Where the original is large (see :func:`is_large`), ``minimal``, ``path`` and ``alternatives`` lie on a coarser grid
    of the same extent: they are there to be looked at. The black box's answers are always those for the full image.

    Attributes:
        original: As given.
        counterfactual: Least valid change (or nearest attempt), original units.
        difference: ``counterfactual - original``, original units.
        effect: Measured effect on the black box's log-odds at every voxel; positive speaks for the target. Of a value:
            in its unit.
        floor: What the autoencoder changes there without any edit, original units: a smaller difference is no evidence.
        regions: Label map (uint8) of the decisive regions, strongest first; 0 elsewhere.
        minimal: The original with only those regions of the change that are needed to flip.
        path: The images of ``Explanation.path``, in its order.
        alternatives: The images of ``Explanation.alternatives``, in its order.
    """

    original: Image
    counterfactual: Image
    difference: Image
    effect: Image
    floor: Image
    regions: Image
    minimal: Image
    path: tuple[Image, ...]
    alternatives: tuple[Image, ...] = ()


def is_large(geometry: Geometry) -> bool:
    """Return whether an original is so large that images which are only looked at are kept on a coarser grid."""
    return math.prod(geometry.shape) > LOOKED_AT[2 if geometry.shape[2] == 1 else 3]


@dataclass(frozen=True)
class WholeStep:
    """One patch that was changed on the way to another answer for the whole image.

    Attributes:
        centre_ras: Middle of the patch, RAS millimetres.
        before: What the classifier says of the patch.
        patch_after: The same once it was changed.
        after: What it then says of the most suspicious patch of the whole image.
        valid: Whether the patch was brought to change its mind; if not, it was left as it is.
    """

    centre_ras: tuple[float, ...]
    before: Probabilities
    patch_after: Probabilities
    after: Probabilities
    valid: bool


@dataclass(frozen=True)
class Place:
    """The place of an explained patch in a larger image, and its effect there.

    Attributes:
        shape: Voxels of the whole image along i, j, k.
        low: First voxel of the whole image that the explanation's volumes cover; all volumes are that part of it.
        high: One past the last.
        before: What the classifier says of the most suspicious patch of the whole image.
        after: The same once the counterfactual has been put into the whole image.
        label_before: The class of ``before``, which the whole image is called; empty in earlier explanations.
        label_after: The class of ``after``.
        patch_low, patch_high: The voxels of the whole image that the patch covers; None in earlier explanations.
        centre_ras: Middle of the patch, RAS millimetres; None likewise.
        steps: The patches that were changed, in their order, where the whole image was to change its mind.
    """

    shape: tuple[int, int, int]
    low: tuple[int, int, int]
    high: tuple[int, int, int]
    before: Probabilities
    after: Probabilities
    label_before: str = ""
    label_after: str = ""
    patch_low: tuple[int, ...] | None = None
    patch_high: tuple[int, ...] | None = None
    centre_ras: tuple[float, ...] | None = None
    steps: tuple[WholeStep, ...] = ()

    @property
    def flips(self) -> bool:
        """Return whether the whole image is called otherwise once this patch alone is changed."""
        return self.label_before != self.label_after


@dataclass(frozen=True)
class Deformation:
    """What an edit does that only deforms the image.

    Attributes:
        furthest: Greatest displacement, in the unit of the image's geometry, mm as a rule.
        least_growth, greatest_growth: Factors by which places grow in area or, in 3-D, volume; below 1 they shrink.
    """

    furthest: float
    least_growth: float
    greatest_growth: float


@dataclass(frozen=True)
class Explanation:
    """The explanation of one image.

    Attributes:
        id: Name of the explanation (``[A-Za-z0-9._-]{1,128}``), also of its folder.
        created: ISO 8601 time with time zone.
        seconds: Wall time of the whole search and measurement.
        queries: Images that the black box was asked about.
        slice_index: For a 2-D classifier and a volume: the slice that it looked at.
        place: Where a patch of a larger image lies; None where the whole image was explained.
        reconstruction_l1: Mean absolute error of the autoencoder on this image without an edit, share of the window.
        minimal: The answer for ``Volumes.minimal``.
        path: Original first, beyond the boundary last.
        notes: Sentences that a reader must know, for example that the search found nothing valid.
        grid: Where the classifier looked.
        concepts: What the regions show; None if the server has learned no names.
        seen: What the classifier saw of the original; None in explanations of earlier versions.
        overview: Of a patch: the plane of the larger image that it lies in, on a coarser grid, to be looked at; None
            in explanations of earlier versions.
        rule: When the classifier says a class, in the order of ``prediction.probabilities``; None in explanations of
            earlier versions.
        warnings: Reasons to doubt the answer or its explanation, for example that most voxels are clipped.
        value: Where the model says a value: the question and its answer. The classes are then the sides of its cut.
        precision: In which the agent drew, ``fp32`` or ``bf16``; None in explanations of earlier versions.
        deformation: Where the image was only deformed; None where the counterfactual was drawn. A deformation has no
            part that is needed and one that is not: ``minimal`` is the counterfactual.
        displacement: Of a deformation: its field, see ``deformation.displacement_in_space``; None in explanations of
            earlier versions.
    """

    id: str
    image_id: str
    image_sha256: str
    classifier: ModelRef
    agent: ModelRef
    created: str
    seconds: float
    queries: int
    prediction: Prediction
    target: str
    counterfactual: Counterfactual
    reconstruction_l1: float
    minimal: Counterfactual
    path: tuple[PathPoint, ...]
    alternatives: tuple[Counterfactual, ...]
    regions: tuple[Region, ...]
    notes: tuple[str, ...]
    volumes: Volumes
    slice_index: int | None = None
    place: Place | None = None
    grid: Geometry | None = None
    concepts: Concepts | None = None
    warnings: tuple[AnswerWarning, ...] = ()
    seen: Seen | None = None
    overview: Image | None = None
    rule: DecisionRule | None = None
    value: ValueAnswer | None = None
    precision: str | None = None
    deformation: Deformation | None = None
    displacement: Image | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return the sentences that a reader must know: the texts of all warnings, then the notes."""
        return (*(warning.text for warning in self.warnings), *self.notes)

    @property
    def thresholds(self) -> Probabilities | None:
        """Return the probability from which each class is said; None if the most probable class is said."""
        if self.rule is None or self.rule.thresholds is None:
            return None
        return dict(zip(self.prediction.probabilities, self.rule.thresholds, strict=True))

    @property
    def boundary(self) -> float | None:
        """Return the probability from which the target is said; None if it depends on the other classes."""
        if self.rule is None:
            return 0.5
        return self.rule.boundary(list(self.prediction.probabilities).index(self.target))
