"""Doubts about a counterfactual: does it convince, does it look real, can the agent draw the target?"""

from __future__ import annotations

from otherwise.agent.calibration import Calibration
from otherwise.agent.editing.realism import LOW
from otherwise.explain.explanation import Counterfactual
from otherwise.warning import AnswerWarning


def believability_warnings(
    calibration: Calibration, counterfactual: Counterfactual, target: str, goal: float, drawn: bool = True
) -> tuple[AnswerWarning, ...]:
    """Return reasons to doubt a counterfactual, in words.

    Args:
        calibration: Of the agent.
        counterfactual: The counterfactual, or the nearest attempt.
        target: Name of the class.
        goal: Probability of the target that convinces.
        drawn: Whether the decoder drew it; else the image was only deformed.
    """
    warnings = []
    probability = counterfactual.probabilities[target]
    if counterfactual.valid and probability < goal - 0.005:
        warnings.append(
            AnswerWarning(
                "only-just",
                f"The change only just flips the black box: it says {target} with {probability:.2f}, and with "
                f"{goal:.2f} or more where it is convinced.",
            )
        )
    if drawn and not counterfactual.valid and not calibration.draws_other_classes:
        warnings.append(
            AnswerWarning(
                "decoder-cannot-draw",
                f"The agent's decoder cannot draw {target}: its answer alone flipped "
                f"{calibration.evidence_validity or 0:.0%} of held-out images. Train the agent longer, on more images.",
            )
        )
    if counterfactual.realism is not None and counterfactual.realism < LOW:
        warnings.append(
            AnswerWarning(
                "unrealistic",
                f"The changed image looks unlike the images that the agent learned from (realism "
                f"{counterfactual.realism:.2f}).",
            )
        )
    return tuple(warnings)
