"""Shows outcomes: table, figures, and the report. Knows no way to run points."""
