"""Annotations, unit statistics, learned names and questions, kept current in the background."""
