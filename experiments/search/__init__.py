"""Searches the space of organizations: which composition of choices is best, and what each choice does."""
