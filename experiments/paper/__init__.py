"""The claims of the publication as data, and their verdicts on simulated points."""
