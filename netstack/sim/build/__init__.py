"""Lays out the state of a simulation from its configuration. No simulated time passes here."""
