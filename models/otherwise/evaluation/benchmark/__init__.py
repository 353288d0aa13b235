"""Comparison of explanations with other methods, on images whose truth is known."""
