"""Explanations outlive models; what is taught is taught about the classifier in use."""

from __future__ import annotations

from otherwise.annotations.annotation import AnnotationError
from otherwise.blackbox.protocol import BlackBox
from otherwise.explain.explanation import Explanation


class SupersededError(AnnotationError):
    """It is about an explanation of a classifier that is no longer in use."""

    code = "superseded"
    status = 409


def refuse_superseded(classifier: BlackBox, explanation: Explanation) -> None:
    """Refuse explanations of another classifier than the one in use: their regions are no longer anybody's answer.

    Who found them does not matter: an earlier agent's regions were measured on the same classifier.

    Raises:
        SupersededError: saying so.
    """
    if explanation.classifier.version != classifier.version:
        raise SupersededError(
            f"{explanation.classifier.name} has been superseded since this explanation was made.",
            "Explain the image again.",
        )
