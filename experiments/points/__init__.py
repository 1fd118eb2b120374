"""Points of a sweep: their configurations, names, order, seeds, and folders of results. Knows no Ray and no MLflow."""
