"""Asks which claims survive a change of the constants that nobody knows exactly."""
