"""Inference tasks of MONAI Label: classify, explain, find and attribute."""
