"""Fits the constants that no source gives to published numbers."""
