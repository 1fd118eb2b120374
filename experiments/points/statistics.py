"""One number of a result by the name that a user gives it. Knows results only."""

from collections.abc import Callable
from dataclasses import fields

from experiments.points.breakdown import busy_cycles
from netstack.errors import ConfigError
from netstack.sim import Result, SimulationConfig

PERCENTILES = ("p50", "p90", "p99", "p99.9")
REQUEST_TIMES = {**{f"{name}_us": name for name in PERCENTILES}, "mean_us": "mean", "max_us": "max"}
"""Names of the time of a request, as `p99_us`, and what each is called in a result."""
BUSY = "cycles_per_kb"
NUMBERS = tuple(declared.name for declared in fields(Result) if declared.type in (float, int) and "wall" not in declared.name)
NAMES = (*NUMBERS, BUSY, *REQUEST_TIMES)
"""All names: numbers of a result that follow from its configuration, busy cycles of all cores per KB, and times of requests."""
GREATER_IS_BETTER = frozenset(
    ("goodput_mbps", "requests_per_second", "connections_per_second", "jain_fairness", "frames_per_interrupt", "frames_per_poll")
)
"""Statistics of which more is wanted; of all others it is less."""


def statistic(name: str) -> Callable[[Result], float]:
    """Return what reads a statistic of `NAMES` from a result."""
    if name == BUSY:
        return busy_cycles
    if name in REQUEST_TIMES:
        return lambda result: result.request_us[REQUEST_TIMES[name]]
    return lambda result: float(getattr(result, name))


def unit(name: str) -> str:
    """Return the unit of a statistic, as in ``Mb/s``; empty for counts."""
    found = "us" if name in REQUEST_TIMES else next(each for each in fields(Result) if each.name == name).metadata["unit"]
    return "" if found == "1" else found


def check_statistic(key: str, name: str) -> None:
    """Raise ConfigError if no statistic has this name, saying which do."""
    if name not in NAMES:
        raise ConfigError(key, name, f"allowed are {', '.join(NAMES)}")


def main_statistic(config: SimulationConfig) -> str:
    """Return the statistic that the workload of a point is about: requests, or payload."""
    return "requests_per_second" if config.workload.application in ("server", "proxy") else "goodput_mbps"


def check_measured(key: str, name: str, config: SimulationConfig) -> None:
    """Raise ConfigError for the time of requests, or their number, in a workload without any."""
    if (name in REQUEST_TIMES or "request" in name) and main_statistic(config) != "requests_per_second":
        raise ConfigError(key, name, f"needs a workload with requests, and {config.workload.name} has none")
