"""Otherwise: what would make the model decide otherwise?

Counterfactual explanations of black-box classifiers of medical images. The public Python API::

    load_classifier    host a classifier: a bundle's folder, or the name of a shipped bundle
    load_agent         load the diffusion autoencoder that was trained for it
    read_image         read a NIfTI, NRRD, MHA, DICOM, PNG ... file or a DICOM folder
    Explainer          explains images with both
    Explanation        what it returns

Everything else may change between releases. The names are imported when they are first used, so that importing the
package takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otherwise.agent.bundle import load_agent
    from otherwise.blackbox.loading import load_classifier
    from otherwise.explain.explainer import Explainer
    from otherwise.explain.explanation import Explanation
    from otherwise.images.reading import read_image

__version__ = "0.1.0"
__all__ = ["Explainer", "Explanation", "load_agent", "load_classifier", "read_image"]

_HOMES = {
    "Explainer": "otherwise.explain.explainer",
    "Explanation": "otherwise.explain.explanation",
    "load_agent": "otherwise.agent.bundle",
    "load_classifier": "otherwise.blackbox.loading",
    "read_image": "otherwise.images.reading",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
