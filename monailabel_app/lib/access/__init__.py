"""Authentication and authorisation: who makes a request, and what that person may do."""
