"""Public data sets: readers, clean tasks, and splits by patient."""
