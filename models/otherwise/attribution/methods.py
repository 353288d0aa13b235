"""The attribution methods: one line each, with what each needs and its source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from otherwise.attribution.gradients import grad_cam, has_feature_maps, integrated_gradients
from otherwise.attribution.occlusion import Checkpoint, occlusion
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import ClassifierError

Attribute = Callable[[Any, np.ndarray, int, Checkpoint], np.ndarray]
"""Black box (or its module), image ``(channels, *size)`` in [0, 1], class, checkpoint -> ``size`` float32, signed:
positive speaks for the class."""


@dataclass(frozen=True)
class Method:
    """An attribution method.

    Attributes:
        name: For machines.
        title: For people.
        source: Paper and library.
    """

    name: str
    title: str
    source: str
    _attribute: Attribute
    _needs: Callable[[nn.Module], bool] | None = None

    def suits(self, classifier: BlackBox) -> bool:
        """Return whether this classifier gives what the method needs."""
        module = getattr(classifier, "module", None)
        return self._needs is None or (module is not None and self._needs(module))

    def __call__(
        self,
        classifier: BlackBox,
        image: np.ndarray,
        label: int,
        checkpoint: Checkpoint = lambda fraction: None,
    ) -> np.ndarray:
        """Attribute the log-odds of a class to the voxels of an image.

        Args:
            classifier: The black box; methods that need gradients use its ``module``.
            image: ``(channels, *size)`` float32 in [0, 1].
            label: Index of the class.
            checkpoint: Called with the share done; may raise to cancel.

        Returns:
            ``size`` float32; positive where the image speaks for the class.

        Raises:
            ClassifierError: if the classifier does not suit the method.
        """
        if not self.suits(classifier):
            raise ClassifierError(f"{classifier.name} gives no gradients for {self.title}.", "Choose another method.")
        asked = classifier if self._needs is None else getattr(classifier, "module", None)
        return np.asarray(self._attribute(asked, image, label, checkpoint), dtype=np.float32)


METHODS = (
    Method("occlusion", "Occlusion", "Zeiler & Fergus, arXiv 1311.2901; Captum", occlusion),
    Method(
        "integrated-gradients",
        "Integrated gradients",
        "Sundararajan et al., arXiv 1703.01365; Captum",
        integrated_gradients,
        lambda module: True,
    ),
    Method("grad-cam", "Grad-CAM", "Selvaraju et al., arXiv 1610.02391; Captum", grad_cam, has_feature_maps),
)


def offered(classifier: BlackBox) -> tuple[Method, ...]:
    """Return the methods that suit a classifier."""
    return tuple(method for method in METHODS if method.suits(classifier))


def find_method(name: str, classifier: BlackBox) -> Method:
    """Find a method by name.

    Raises:
        ClassifierError: if there is none of that name that suits the classifier; it lists those that do.
    """
    fitting = {method.name: method for method in offered(classifier)}
    if name not in fitting:
        raise ClassifierError(f"There is no method {name[:64]!r} here.", f"Choose one of {', '.join(fitting)}.")
    return fitting[name]
