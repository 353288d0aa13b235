"""Who may do what: tokens, roles, origins, rates."""
