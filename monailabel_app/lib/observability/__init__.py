"""Logs, metrics and health for those who operate the server."""
