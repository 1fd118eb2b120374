"""The one place that knows the inside of Numba: compilation, records behind addresses, tables, and the journal of a step."""
