"""Training tasks of MONAI Label. Each runs in a process of its own."""
