"""Explanations beside what users would take instead, on images whose truth is known."""
