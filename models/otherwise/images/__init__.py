"""Read, write and resample images with geometry. Imports no other room."""
