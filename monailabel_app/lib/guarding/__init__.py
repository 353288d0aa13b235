"""What stands before MONAI Label's own routes: they believe whatever they are sent."""
