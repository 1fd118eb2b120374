"""Limits of simulated time below which a simulation does nothing but pause, for hours or for ever.

Knows how an engine pauses, not what it simulates.
"""

from netstack.errors import ConfigError
from netstack.sim import SimulationConfig
from netstack.sim.engine.measurement import planned_ms

LEAST_MS = 0.01  # of a measured interval: 1,000 cycles per slice at 2 GHz
MOST_WARMUPS = 1000  # a warm-up has so many times the pauses of the measured interval as it is longer


def check_pauses(config: SimulationConfig) -> None:
    """Raise ConfigError for a measured interval or a window that is too short."""
    engine = config.engine
    warmup_ms, measure_ms = planned_ms(config)
    key = "engine.measure_ms" if engine.run_ms is None else "engine.run_ms"
    given = engine.measure_ms if engine.run_ms is None else engine.run_ms
    if measure_ms < LEAST_MS:
        raise ConfigError(key, given, f"must leave {LEAST_MS:g} ms or more to measure")
    if measure_ms * MOST_WARMUPS < warmup_ms:
        raise ConfigError(
            key, given, f"must leave a {MOST_WARMUPS}th of the warm-up or more to measure, which takes {warmup_ms:g} ms"
        )
    if engine.window_us != 0 and engine.window_us * config.machine.clock_mhz < 1:
        raise ConfigError(
            "engine.window_us", engine.window_us, f"must be 0, or a cycle or more: {1 / config.machine.clock_mhz:.2g}"
        )
