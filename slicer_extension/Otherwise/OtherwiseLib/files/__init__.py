"""Files of the server, read and checked. Knows neither Slicer nor Qt."""
