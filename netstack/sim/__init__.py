"""The simulated host: from a configuration to a result. What other packages use of it is exported here."""

from netstack.jit.cache import cache_folder, kept_cache_folder
from netstack.jit.versions import model_version
from netstack.sim.build.sizes import link_limit_mbps, memory_needed_bytes
from netstack.sim.config import MECHANISMS, EngineConfig, SimulationConfig, planned_ms
from netstack.sim.engine.result import Result
from netstack.sim.engine.simulate import prepare, simulate
from netstack.sim.engine.tracing import Recording, trace
from netstack.sim.engine.windows.lockstep import Lockstep, are_over, gather, no_messages

__all__ = [
    "MECHANISMS",
    "EngineConfig",
    "Lockstep",
    "Recording",
    "Result",
    "SimulationConfig",
    "are_over",
    "cache_folder",
    "gather",
    "kept_cache_folder",
    "link_limit_mbps",
    "memory_needed_bytes",
    "model_version",
    "no_messages",
    "planned_ms",
    "prepare",
    "simulate",
    "trace",
]
