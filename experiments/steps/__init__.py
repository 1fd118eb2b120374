"""Choices one at a time: what each changes beside its neighbour."""
