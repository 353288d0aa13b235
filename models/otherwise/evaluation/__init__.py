"""Metrics and benchmarks of explanations."""
