"""Keeps what came out of points in MLflow, in a thread of its own."""
