"""HTTP client of the server. Knows neither Slicer nor Qt."""
