"""Explain one image from Python: which change would make the classifier decide otherwise?

Run it with an image of your own, or without one to explain a phantom mammogram::

    python examples/explain.py [IMAGE] [OUT]
"""

from __future__ import annotations

import sys
from pathlib import Path

import otherwise
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.report.folder import write_explanation


def main(image_path: str | None = None, out: str = "explanation") -> otherwise.Explanation:
    """Explain an image, print what decides, and write the folder with the report."""
    classifier = otherwise.load_classifier("mammogram_classifier")
    agent = otherwise.load_agent("mammogram_agent")
    explainer = otherwise.Explainer(classifier, agent)

    phantom = next(iter(mammograms(seed=7, count=1, settings=MammogramSettings())))
    image = otherwise.read_image(Path(image_path)) if image_path else phantom.image
    explanation = explainer.explain(image)

    print(f"{image.id}: {explanation.prediction.label} {explanation.prediction.probabilities}")
    changed = explanation.counterfactual
    print(f"After changing {100 * changed.changed_fraction:.1f} % of the image: {changed.probabilities}")
    for region in explanation.regions:
        print(f"Region {region.label} at {region.centroid_ras} (RAS, mm): effect {region.effect:+.2f} log-odds")
    print(f"Report: {write_explanation(explanation, Path(out)) / 'report.html'}")
    return explanation


if __name__ == "__main__":
    main(*sys.argv[1:3])
