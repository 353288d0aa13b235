"""Metrics and benchmarks: how good explanations are, measured."""
