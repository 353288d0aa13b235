"""What the server can be asked about one image: ``classify`` and ``explain``."""
