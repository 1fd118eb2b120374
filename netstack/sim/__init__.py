"""Drives a simulation from a configuration to a result."""

from netstack.compilation import source_digest
from netstack.engine.build import link_limit_mbps, memory_needed_bytes
from netstack.engine.config import EngineConfig, SimulationConfig
from netstack.engine.result import Result
from netstack.engine.simulate import prepare, simulate
from netstack.engine.windows import WindowedCore, join, nothing

__all__ = [
    "EngineConfig",
    "Result",
    "SimulationConfig",
    "WindowedCore",
    "join",
    "link_limit_mbps",
    "memory_needed_bytes",
    "nothing",
    "prepare",
    "simulate",
    "source_digest",
]
