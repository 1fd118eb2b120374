"""Runs points, on Ray or in this process. Workers import `task`, and nothing else of it."""
