"""Attribution maps of known methods on an image's own grid, for comparison with the measured effect."""

from __future__ import annotations

from collections.abc import Callable

from otherwise.agent.editing.rendering import Cancelled
from otherwise.attribution.methods import find_method
from otherwise.blackbox.decision import DecisionRule
from otherwise.errors import CancelledError
from otherwise.explain.view import ClassifierView
from otherwise.images.image import Image


def attribution_map(
    view: ClassifierView,
    rule: DecisionRule,
    method: str,
    index: int | None,
    progress: Callable[[float], None],
    cancelled: Cancelled,
) -> Image:
    """Return the attribution map of a method; see ``Explainer.attribute``.

    Args:
        view: The image as the classifier sees it.
        rule: How the classifier's answer becomes a class.
        method: Name of a method of ``otherwise.attribution``.
        index: Of the class to attribute; None: the one that the black box says.
        progress: Told the share that is done.
        cancelled: Asked between steps.

    Raises:
        ClassifierError: if there is no such method, or the classifier does not suit it.
        CancelledError: if ``cancelled`` says so.
    """
    found = find_method(method, view.classifier)
    if index is None:
        index = rule.label(view.classifier.predict(view.array[None])[0])

    def checkpoint(part: float) -> None:
        progress(part)
        if cancelled():
            raise CancelledError("The attribution was cancelled.", "Ask again when you want it.")

    return view.image.with_array(view.back(found(view.classifier, view.array, index, checkpoint)))
