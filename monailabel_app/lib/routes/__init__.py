"""Routers of the HTTP interface. Each translates requests and replies; the work is done elsewhere."""
