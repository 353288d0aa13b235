"""The methods that a benchmark compares. ``registry`` lists them; each other module holds one, or one library's."""
