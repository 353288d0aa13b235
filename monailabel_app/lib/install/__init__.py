"""Start-up: open the parts of the app and install its routes in MONAI Label's server."""
