"""How the next case is chosen, in MONAI Label's own form."""
