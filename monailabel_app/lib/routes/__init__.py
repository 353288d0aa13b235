"""Our routes in MONAI Label's server."""
