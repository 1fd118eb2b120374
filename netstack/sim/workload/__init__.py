"""Applications and remote peers. Knows no organization."""
