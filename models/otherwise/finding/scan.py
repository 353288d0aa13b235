"""How patches are laid over an image, where somebody wants it otherwise than the classifier's bundle says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import ClassifierError


@dataclass(frozen=True)
class Scan:
    """Settings of one search; None: as the classifier's bundle says. See ``protocol.PatchSpec``.

    They change which patches are looked at, never what is said of a patch, so any agent of the classifier suits.

    Attributes:
        overlap: Share of its edge that a patch has in common with the next one, in [0, 1).
        share: Patches that hold a smaller share of tissue are not looked at, in [0, 1].
        foreground: Voxels above this value, in the image's own units, are foreground.
        fine: Look closer around suspicious patches.
        muscle: Search the pectoral muscle of a mammogram, too; without it, it is no tissue.
    """

    overlap: float | None = None
    share: float | None = None
    foreground: float | None = None
    fine: bool = True
    muscle: bool = True

    def inputs(self, declared: InputSpec) -> InputSpec:
        """Return a classifier's inputs with these settings.

        Raises:
            ClassifierError: if a setting is given, and the classifier looks at whole images.
            BundleError: if a value is impossible.
        """
        fields = {"overlap": self.overlap, "share": self.share, "foreground": self.foreground}
        given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
        if declared.patches is None and not self.muscle:
            raise ClassifierError("A classifier of whole images has no muscle to leave out.", "Leave that option out.")
        if not given:
            return declared
        if declared.patches is None:
            raise ClassifierError(
                f"A classifier of whole images has no {next(iter(given))} of patches.", "Leave that option out."
            )
        return replace(declared, patches=replace(declared.patches, **given))
