"""Training tasks in MONAI Label's own form; they run in a process of their own."""
