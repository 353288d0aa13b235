"""Host a classifier: images in, probabilities out; nothing else is asked of it."""
