"""What a user can set: schema, composition, grids, and errors in one line. Knows no Ray and no MLflow."""
