"""How fast names spread: strategies of asking compared with a simulated reader."""
