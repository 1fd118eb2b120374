"""The windowed engine: cores run alone for a window of time, and exchange messages at its end."""
