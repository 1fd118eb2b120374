"""How fast the simulator is on one host core, beside a SimPy model of the same server timed in the same run.

Run from the repository root, so that its packages are found:

    python -m benchmarks.speed
    python -m benchmarks.speed --organizations up,connp_l --conns 192 --repetitions 5 --json speed.json

All points together take some 150 s of one core. Everything is compiled before the clock starts. Both sides are single-threaded;
`--pin` binds the process to one core.
Repetitions of the two sides alternate, so that a busy host slows down both, and a ratio is that of neighbours.

Intervals. A point that takes the simulator less than `SHORTEST_WALL_SECONDS` is simulated for longer until it does not. Segments
and wall time of the simulator include its warm-up. At the start connections send from caches that hold few of them yet: with
16,384 connections speed and throughput settle within 120 ms of simulated time on both sides. The SimPy model is so much slower
that it warms up once, and each of its repetitions is a further `PEER_MEASURE_MS` of the same run, some 5,000 segments.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.points import organization_names
from benchmarks.simpy_model import Server, UnsupportedError
from experiments.config.compose import compose_simulation
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig, model_version, prepare, simulate

ORGANIZATIONS = "up,msgp,connp_t,connp_l"
CONNS = "6,192,16384"
INTERVALS_MS = ((24, 20.0, 600.0), (512, 20.0, 400.0), (sys.maxsize, 120.0, 300.0))
"""Up to how many connections, warm-up, measured interval."""
PEER_MEASURE_MS = 15.0
SHORTEST_WALL_SECONDS = 0.5


@dataclass
class Speed:
    """What one side did, a value a repetition."""

    goodput_mbps: list[float] = field(default_factory=list)
    segments_per_second: list[float] = field(default_factory=list)
    simulated_seconds_per_second: list[float] = field(default_factory=list)

    def add(self, goodput_mbps: float, segments_per_second: float, simulated_ms: float, wall_seconds: float) -> None:
        """Record a repetition."""
        self.goodput_mbps.append(goodput_mbps)
        self.segments_per_second.append(segments_per_second)
        self.simulated_seconds_per_second.append(simulated_ms / 1000 / wall_seconds)


@dataclass(frozen=True)
class Point:
    """One organization at one load, on both sides."""

    organization: str
    conns: int
    simulator: Speed
    simpy: Speed

    @property
    def ratios(self) -> list[float]:
        """Return how many times more segments a second the simulator does, by repetition."""
        sides = zip(self.simulator.segments_per_second, self.simpy.segments_per_second, strict=True)
        return [simulator / simpy for simulator, simpy in sides]


def point_config(organization: str, conns: int) -> SimulationConfig:
    """Compose a point with the interval of its load."""
    warmup_ms, measure_ms = next((warmup, measure) for most, warmup, measure in INTERVALS_MS if conns <= most)
    intervals = (f"engine.warmup_ms={warmup_ms}", f"engine.measure_ms={measure_ms}")
    return compose_simulation(f"org={organization}", f"conns={conns}", *intervals)


def time_point(organization: str, conns: int, repetitions: int) -> Point:
    """Time both sides of a point in turn."""
    config = point_config(organization, conns)
    point = Point(organization, conns, Speed(), Speed())
    server = Server(config)
    server.run(config.engine.warmup_ms or 0.0)
    for _ in range(repetitions):
        config = _time_simulator(config, point.simulator)
        peer = server.run(PEER_MEASURE_MS)
        point.simpy.add(peer.goodput_mbps, peer.data_segments / peer.wall_seconds, PEER_MEASURE_MS, peer.wall_seconds)
    return point


def _time_simulator(config: SimulationConfig, speed: Speed) -> SimulationConfig:
    """Time one repetition; return the configuration with the interval that was long enough."""
    while True:
        result = simulate(config)
        if result.wall_seconds >= SHORTEST_WALL_SECONDS:
            break
        config = replace(config, engine=replace(config.engine, measure_ms=2 * result.simulated_ms))
    simulated_ms = result.warmup_ms + result.simulated_ms
    speed.add(result.goodput_mbps, result.wall_segments_per_second, simulated_ms, result.wall_seconds)
    return config


def spread(values: Sequence[float]) -> str:
    """Return the median and, on a line of its own, the range."""
    return f"{_rounded(statistics.median(values))}\n{_rounded(min(values))}-{_rounded(max(values))}"


def _rounded(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def table_of(points: Sequence[Point], repetitions: int) -> Table:
    """Return the table of all points."""
    title = f"Data segments and simulated time a wall second, median of {repetitions} and min-max"
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("conns", justify="right")
    table.add_column("org")
    for name in ("segments\n1,000/s", "simulated\ns/s", "SimPy\n1,000/s", "simulated\nms/s", "ratio\nsegments", "Mb/s\nSimPy"):
        table.add_column(name, justify="right")
    for point in points:
        table.add_row(
            f"{point.conns:,}",
            point.organization,
            spread([value / 1000 for value in point.simulator.segments_per_second]),
            spread(point.simulator.simulated_seconds_per_second),
            spread([value / 1000 for value in point.simpy.segments_per_second]),
            spread([value * 1000 for value in point.simpy.simulated_seconds_per_second]),
            spread(point.ratios),
            f"{statistics.mean(point.simulator.goodput_mbps):,.0f}\n{statistics.mean(point.simpy.goodput_mbps):,.0f}",
        )
    return table


def to_json(points: Sequence[Point], repetitions: int) -> str:
    """Return all values, with the versions they belong to."""

    def summary(values: Sequence[float]) -> dict[str, object]:
        return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": list(values)}

    def side(speed: Speed) -> dict[str, object]:
        return {
            "goodput_mbps": summary(speed.goodput_mbps),
            "segments_per_second": summary(speed.segments_per_second),
            "simulated_seconds_per_second": summary(speed.simulated_seconds_per_second),
        }

    rows = [
        {
            "organization": point.organization,
            "conns": point.conns,
            "simulator": side(point.simulator),
            "simpy": side(point.simpy),
            "ratio": summary(point.ratios),
        }
        for point in points
    ]
    versions = {"python": platform.python_version(), **{name: version(name) for name in ("numba", "numpy", "simpy")}}
    report = {"model_version": model_version(), "versions": versions, "repetitions": repetitions, "points": rows}
    return json.dumps(report, indent=2) + "\n"


def _names(text: str) -> list[str]:
    known, names = organization_names(), text.split(",")
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"unknown organization {name!r}; known are {', '.join(known)}")
    return names


def _numbers(text: str) -> list[int]:
    if not all(part.isdecimal() and int(part) > 0 for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers above 0 such as 6,192")
    return [int(part) for part in text.split(",")]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def main() -> None:
    """Time the chosen points, print the table, save the values."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--organizations", type=_names, default=ORGANIZATIONS, metavar="A,B", help="default: %(default)s")
    parser.add_argument("--conns", type=_numbers, default=CONNS, metavar="N,M", help="connections; default: %(default)s")
    parser.add_argument("--repetitions", type=_count, default=3, help="of each point; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to save all values")
    parser.add_argument("--pin", action="store_true", help="bind the process to one core")
    arguments = parser.parse_args()
    console = Console()
    if arguments.pin:
        if not hasattr(os, "sched_setaffinity"):
            parser.error("--pin: this system cannot bind a process to a core")
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    points = []
    with console.status("compiling") as status:
        prepare()
        for conns in arguments.conns:
            for organization in arguments.organizations:
                status.update(f"{organization}, {conns:,} connections")
                try:
                    points.append(time_point(organization, conns, arguments.repetitions))
                except (ConfigError, UnsupportedError) as error:
                    parser.error(f"{organization}, {conns} connections: {error}")
    console.print(table_of(points, arguments.repetitions))
    if arguments.json is not None:
        arguments.json.write_text(to_json(points, arguments.repetitions))


if __name__ == "__main__":
    main()
