"""Synthetic images whose decisive feature, and whose true counterfactual, are known exactly."""
