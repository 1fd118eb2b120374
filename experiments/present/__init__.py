"""Shows points: table, figures, page."""
