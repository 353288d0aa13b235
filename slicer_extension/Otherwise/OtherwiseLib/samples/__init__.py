"""Images that are drawn here, and the self test."""
