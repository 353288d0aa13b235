"""Otherwise: what would make the model decide otherwise?

Counterfactual explanations of black-box classifiers of medical images.
"""

__version__ = "0.1.0"
