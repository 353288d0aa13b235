"""Explanations in Slicer's scene: nodes, display, layouts, tables and segments. Knows no Qt."""
