"""The panel: the only room that knows Qt."""
