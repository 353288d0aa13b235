"""Settings of the server and parameters of requests."""
