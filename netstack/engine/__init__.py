"""Drives a simulation from a configuration to a result."""

from netstack.engine.config import EngineConfig, SimulationConfig
from netstack.engine.result import Result

__all__ = ["EngineConfig", "Result", "SimulationConfig"]
