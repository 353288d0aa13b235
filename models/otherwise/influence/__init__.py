"""The regions of a counterfactual that decide, and the effect of each on the black box."""
