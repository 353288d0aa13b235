"""Immutable versions of hosted models, each with its origin, one of them in use."""
