"""A simulated multiprocessor that runs a real TCP stack under different parallel organizations."""
