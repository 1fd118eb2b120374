"""Runs the events of a simulation, exactly or in windows, and turns its counters into a result."""
