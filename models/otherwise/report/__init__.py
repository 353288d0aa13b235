"""One explanation as a folder of files and as a page that a person can read."""
