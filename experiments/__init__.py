"""Experiments with simulated points, as packages in the order of a sweep's life.

`config` is what a user sets, `points` what is simulated and kept, `run` where it is simulated, `store` is MLflow, `paper` has the
claims of the publication, and `present` shows results. `calibrate` and `sensitivity` are studies with commands of their own.
`sweep` and `launch` stand above them all.
"""
