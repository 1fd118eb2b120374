"""From a configuration to a result: warm up, measure, check the laws, report.

Compiled code lands in an on-disk cache that belongs to these sources: see `netstack.compilation`.
"""

import time
from collections.abc import Callable

from netstack.engine.build import build
from netstack.engine.config import EngineConfig, SimulationConfig
from netstack.engine.conservation import check_conservation
from netstack.engine.inline import run_until, settle
from netstack.engine.report import result_of, snapshot
from netstack.engine.result import Result

SLICES = 20  # of the measured interval
SETTLED_PERCENT = 5.0  # how far the two last warm-up slices may differ
LONGEST_WARMUP = 4  # times the planned one


def simulate(config: SimulationConfig, progress: Callable[[float], None] | None = None) -> Result:
    """Simulate one point and return its result.

    Args:
        config: The point. It is validated.
        progress: Called now and then with the finished share, from 0 to 1.

    Raises:
        ConfigError: A value cannot be simulated.
        ConservationError: A law was broken: the simulator has a bug.
    """
    config.validate()
    simulation = build(config)
    cycles_per_ms = config.machine.clock_mhz * 1000
    warmup_ms, measure_ms = planned_ms(config)
    automatic = config.engine.warmup_ms is None and config.engine.run_ms is None
    slice_ms = measure_ms / SLICES
    started = time.perf_counter()
    acked = [0]

    def run_slice() -> None:
        until = round((len(acked)) * slice_ms * cycles_per_ms)
        run_until(simulation.m, simulation.s, until)
        settle(simulation.m, until)
        acked.append(int(simulation.s["acked_bytes"]))
        if progress is not None:
            progress(min(1.0, len(acked) * slice_ms / (warmup_ms + measure_ms)))

    planned = max(1, round(warmup_ms / slice_ms))
    for _ in range(planned):
        run_slice()
    while automatic and len(acked) <= planned * LONGEST_WARMUP and not _settled(acked, planned):
        run_slice()
    warm_slices = len(acked) - 1
    before = snapshot(simulation)
    for _ in range(SLICES):
        run_slice()
    check_conservation(simulation)
    return result_of(simulation, before, acked, warm_slices, slice_ms, time.perf_counter() - started)


def planned_ms(config: SimulationConfig) -> tuple[float, float]:
    """Return warm-up and measured interval in ms: as configured, else longer with more connections.

    A connection of a large load gets its turn rarely: the interval grows until everybody had several.
    """
    engine = config.engine
    warmup_ms = 20.0 if config.conns <= 512 else min(2000.0, 20.0 + config.conns / 32)
    measure_ms = 60.0 if config.conns <= 512 else min(2000.0, 60.0 + config.conns / 32)
    if engine.warmup_ms is not None:
        warmup_ms = engine.warmup_ms
    if engine.run_ms is not None:
        if warmup_ms >= engine.run_ms:
            warmup_ms = engine.run_ms / 4
        return warmup_ms, engine.run_ms - warmup_ms
    return warmup_ms, engine.measure_ms if engine.measure_ms is not None else measure_ms


def _settled(acked: list[int], window: int) -> bool:
    """Return whether the last `window` slices carried as much as the window before them."""
    half = max(1, window // 2)
    if len(acked) <= 2 * half:
        return False
    last, previous = acked[-1] - acked[-1 - half], acked[-1 - half] - acked[-1 - 2 * half]
    return last > 0 and abs(last - previous) <= SETTLED_PERCENT / 100 * last


def prepare() -> None:
    """Compile everything into the on-disk cache, by simulating next to nothing."""
    config = SimulationConfig(conns=1, engine=EngineConfig(warmup_ms=0.01, measure_ms=0.01))
    simulate(config)
