"""The image to ask about: what the user chose, and what of it goes to the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..client.errors import ServerError
from ..client.jobs import JobRequest
from ..mrml.find_box import centre_of
from ..mrml.snapshot import Snapshot, snapshot


@dataclass(frozen=True)
class ImageSelection:
    """What to explain: a volume of the scene, or an image of the server's studies.

    Attributes:
        volume: Volume node, or None.
        roi: Markups ROI node: only this part of the volume is sent. A classifier of patches gets the whole volume, and
            the patch about the region's middle is explained.
        slice_index: For a 2-D classifier and a volume of several slices: which slice.
        image: Id of an image of the studies, where there is no volume.
    """

    volume: Any = None
    roi: Any = None
    slice_index: int | None = None
    image: str = ""


@dataclass(frozen=True)
class PreparedSource:
    """A source taken out of the scene, so that a job's thread may send it.

    Attributes:
        image: Id of an image of the studies; empty: ``voxels`` are sent.
        voxels: What is sent; None: nothing.
        params: Options of the job that depend on the source.
    """

    image: str = ""
    voxels: Snapshot | None = None
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether a whole volume of the scene is sent."""
        return self.voxels is not None and self.voxels.whole

    def request(self, folder: Path, **params: Any) -> JobRequest:
        """Return the request of a job, on the job's thread since a file is written.

        Args:
            folder: Gets the file to send.
            params: Further options; those that are None are left out of ``self.params`` too.
        """
        every = {**self.params, **params}
        return JobRequest(
            image=self.image,
            file=self.voxels.write(folder / "image.nrrd") if self.voxels is not None else None,
            params={name: value for name, value in every.items() if value is not None},
        )


def prepare(source: ImageSelection, scene: Any, spatial_dims: int, patches: bool) -> PreparedSource:
    """Take a source out of the scene.

    Args:
        source: What the user chose.
        scene: The scene of its nodes.
        spatial_dims: Of the classifier, 2 or 3.
        patches: Whether the classifier looks at patches of an image.

    Raises:
        ServerError: ``gone`` if the volume is not in the scene any more, ``slice`` if no slice was chosen.
        ImageError: if the volume is empty, or the region lies outside of it.
    """
    if source.volume is None:
        return PreparedSource(source.image)
    if not scene.IsNodePresent(source.volume):
        raise ServerError("gone", "The volume is no longer in the scene.", "Choose another one.")
    # The surroundings of a patch belong to the question, so a classifier of patches gets the whole volume.
    voxels = snapshot(source.volume, None if patches else source.roi)
    params: dict[str, Any] = {}
    if patches and source.roi is not None:
        params["centre"] = centre_of(source.roi, source.volume)
    if spatial_dims == 2 and voxels.slices > 1:
        if source.slice_index is None:
            detail = "The classifier looks at single slices and the image is a volume."
            raise ServerError("slice", detail, "Choose a slice.")
        params["slice_index"] = source.slice_index
    return PreparedSource(voxels=voxels, params=params)
