"""A simulated multiprocessor that runs a real TCP stack under different parallel organizations."""

__version__ = "0.2.0.dev0"
