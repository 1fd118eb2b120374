"""Lays out the state of a simulation from its configuration. Nothing happens here in simulated time."""
