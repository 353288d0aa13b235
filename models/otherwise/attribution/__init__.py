"""Known attribution methods, from the usual libraries, for comparison with the measured effect."""
