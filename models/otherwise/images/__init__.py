"""Images with geometry: read, write, resample. Knows no other room."""
