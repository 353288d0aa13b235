"""Work that a client asks for, watches, and fetches later: what waits, what runs, what came out."""
