"""The counterfactual agent: a diffusion autoencoder taught by the black box (after DiffExplainer, arXiv 2406.15182)."""
