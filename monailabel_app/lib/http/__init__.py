"""Everything between the network and a route: errors, body limits, origins, rate limits and the request log."""
