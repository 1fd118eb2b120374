"""The simulated host: from a configuration to a result. What other packages use of it is exported here."""

from netstack.jit.cache import cache_folder
from netstack.jit.versions import model_version
from netstack.sim.build.sizes import link_limit_mbps, memory_needed_bytes
from netstack.sim.config import EngineConfig, SimulationConfig
from netstack.sim.engine.result import Result
from netstack.sim.engine.simulate import prepare, simulate
from netstack.sim.engine.windows.core import WindowedCore, join, nothing

__all__ = [
    "EngineConfig",
    "Result",
    "SimulationConfig",
    "WindowedCore",
    "cache_folder",
    "join",
    "link_limit_mbps",
    "memory_needed_bytes",
    "model_version",
    "nothing",
    "prepare",
    "simulate",
]
