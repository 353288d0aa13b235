"""The parts of the Otherwise module, one room an idea.

Arrows point one way: ui, logic, samples, then mrml and client, then files and background.
"""
