"""What an explanation is: numbers for ``explanation.json`` and volumes on the original's own grid."""

from __future__ import annotations

from dataclasses import dataclass

from otherwise.annotations.vocabulary import Term
from otherwise.images.image import Geometry, Image
from otherwise.warning import AnswerWarning

SCHEMA = "otherwise.explanation/1"

Probabilities = dict[str, float]
"""Class name to probability, in the classifier's order."""


@dataclass(frozen=True)
class ModelRef:
    """Which model answered: its name and content version."""

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
            Other edits: movement in latent space, of which 1 reaches the student's boundary.
        probabilities: The black box's answer.
    """

    strength: float
    probabilities: Probabilities


@dataclass(frozen=True)
class Counterfactual:
    """An image for which the black box should answer otherwise, and how far it lies from the original.

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
        centroid_ras: Centre of mass in RAS millimetres.
        volume_mm3: Volume (for one slice: area times slice thickness).
        effect: Measured change of the black box's log-odds towards the target: the mean of putting only this region in
            and leaving only this region out.
        sufficient: Putting only this region of the change into the original flips the black box.
        necessary: Leaving only this region out of the change un-flips it.
        above_floor: Its change exceeds the autoencoder's own reconstruction error; below it is no evidence.
        concept: ``{name, scheme, code, confidence}`` once it has a name, else None. The scheme is the designator of
            the code's coding scheme; where it is absent or None the code is private to Otherwise. The confidence is in
            [0, 1], or None where nobody measured it.
    """

    label: int
    centroid_ras: tuple[float, float, float]
    volume_mm3: float
    effect: float
    sufficient: bool
    necessary: bool
    above_floor: bool
    concept: dict[str, object] | None = None


@dataclass(frozen=True)
class ConceptEntry:
    """What one concept has to do with an explanation.

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
    """What an explanation shows, in words, as far as the server has been taught.

    Attributes:
        version: Of the names.
        named_share: Share of the decisive change that has a name, in [0, 1].
        entries: The concept with the greatest effect first; what has no name last.
    """

    version: str
    named_share: float
    entries: tuple[ConceptEntry, ...]


@dataclass(frozen=True)
class Volumes:
    """The images of an explanation, all on the original's own grid.

    Attributes:
        original: As given.
        counterfactual: Least valid change (or nearest attempt), original units.
        difference: ``counterfactual - original``, original units.
        effect: Measured effect on the black box's log-odds at every voxel; positive speaks for the target.
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


@dataclass(frozen=True)
class Place:
    """Where in a larger image an explained patch lies, and what it does there.

    Attributes:
        shape: Voxels of the whole image along i, j, k.
        low: First voxel of the whole image that the explanation's volumes cover; all volumes are that part of it.
        high: One past the last.
        before: What the classifier says of the most suspicious patch of the whole image.
        after: The same once the counterfactual has been put into the whole image.
    """

    shape: tuple[int, int, int]
    low: tuple[int, int, int]
    high: tuple[int, int, int]
    before: Probabilities
    after: Probabilities


@dataclass(frozen=True)
class Explanation:
    """What would make the model decide otherwise, for one image.

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
        concepts: What the regions show; None where nobody has taught it.
        warnings: Reasons to doubt the answer or its explanation, for example that most voxels are clipped.
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

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences that a reader must know: the texts of all warnings, then the notes."""
        return (*(warning.text for warning in self.warnings), *self.notes)
