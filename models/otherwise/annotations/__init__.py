"""Annotations of images by people: terms, regions, and an append-only store. Knows only images."""
