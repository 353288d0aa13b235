"""What the server sends, read and checked. Knows neither Slicer nor Qt."""
