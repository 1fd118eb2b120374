"""A simulated multiprocessor that runs a real TCP stack under different parallel organizations."""

from netstack.jit.compilation import source_digest, use_cache_of_these_sources

use_cache_of_these_sources()

__all__ = ["source_digest"]
