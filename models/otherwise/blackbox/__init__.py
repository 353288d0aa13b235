"""Host a classifier: it gets images and returns probabilities. Nothing else of it is used."""
