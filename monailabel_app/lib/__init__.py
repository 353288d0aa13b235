"""The rooms of the server. MONAI Label loads this folder as the package ``lib``."""
