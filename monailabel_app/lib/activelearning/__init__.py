"""Active learning strategies of MONAI Label."""
