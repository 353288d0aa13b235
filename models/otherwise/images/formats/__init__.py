"""Readers of file formats, one module each. Errors of their libraries pass; ``reading`` turns them into one line."""
