"""Background work: jobs on threads, watched by a timer of the main thread. Knows neither Slicer nor Qt."""
