"""Describe the status with which a DICOM archive refuses to store an object."""

from __future__ import annotations

NOT_KEPT = 0x0122
"""SOP class not supported."""
_CODES = {
    0x0110: "The archive could not process it",
    0x0111: "The archive has an object of this identifier already",
    0x0117: "The archive finds its identifier invalid",
    NOT_KEPT: "The archive does not keep objects of this kind",
    0x0124: "The archive does not allow it",
}
_RANGES = {0xA7: "The archive is out of resources", 0xA9: "It is not of its own kind", 0xC0: "It is not understood"}


def refusal(code: int) -> str:
    """Return a sentence without its full stop for a failure of C-STORE or STOW-RS.

    Source: PS3.4 table B.2-1, PS3.7 annex C, PS3.18 table 10.5.3-1.
    """
    return _CODES.get(code) or _RANGES.get(code >> 8) or "The archive did not keep it"
