"""Explain a whole archive: each image once, by one process or many, and go on where it stopped."""
