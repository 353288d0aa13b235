"""Versions of what a server hosts: immutable, each with where it came from, and one of them in use."""
