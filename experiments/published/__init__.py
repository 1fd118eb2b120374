"""Experiments held against what publications measured on real machines: given figures, predictions, null models, scores."""
