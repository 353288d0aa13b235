"""The methods that users know, from the libraries that they know: to look at beside what we measured."""
