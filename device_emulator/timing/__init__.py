"""The timing model: what a real device would take for a Program. It never influences a result."""
