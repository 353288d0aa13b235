"""Public data sets: how to read them, which of their images make a clean task, and how they are split."""
