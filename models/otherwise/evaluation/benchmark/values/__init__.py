"""Benchmarks of models that say a value: is the target reached, and do effects tell what makes the value?"""
