"""Train a small classifier on labelled images."""
