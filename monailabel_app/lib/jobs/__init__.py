"""Jobs: their specification, their life, and the database that survives a restart."""
