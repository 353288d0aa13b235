"""Speed, memory and responsiveness of the real server, measured over HTTP."""
