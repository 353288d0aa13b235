"""Input validation for MONAI Label's own endpoints."""
