"""Runs points on Ray. Workers import `task`, and nothing else of it."""
