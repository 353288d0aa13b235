"""The server over HTTP. Knows neither Slicer nor Qt."""
