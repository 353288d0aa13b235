"""From a counterfactual to the regions that decide, and how much each one weighs on the black box."""
