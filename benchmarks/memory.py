"""How much memory a million connections take: one point in a fresh process, its peak resident size against the limit.

Run from the repository root, so that its packages are found:

    python -m benchmarks.memory
    python -m benchmarks.memory --organization msgp --conns 1000000

Code is compiled by another process before, because the compiler would be the peak of a small point. Exits with 1 above the limit.
"""

import argparse
import json
import resource
import subprocess
import sys

from rich.console import Console

from benchmarks.points import ROOT, organization_names
from experiments.config.compose import compose_simulation
from netstack.sim import memory_needed_bytes, prepare, simulate

LIMIT_BYTES = 1.5 * 2**30
INTERVALS = ("engine.warmup_ms=10", "engine.measure_ms=20")  # all connections have started after 10 ms
MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def measure(organization: str, conns: int) -> dict[str, float]:
    """Simulate the point in this process; return its peak resident size, and what was expected of its tables."""
    config = compose_simulation(f"org={organization}", f"conns={conns}", *INTERVALS)
    result = simulate(config)
    return {
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT_BYTES,
        "expected_bytes": memory_needed_bytes(config),
        "goodput_mbps": result.goodput_mbps,
        "wall_seconds": result.wall_seconds,
    }


def in_fresh_process(*arguments: str) -> str:
    """Run this module in a process of its own and return what it printed."""
    command = [sys.executable, "-m", "benchmarks.memory", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    """Print the peak resident size of a point; return 1 above the limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--organization", choices=organization_names(), default="connp_l", help="default: %(default)s")
    parser.add_argument("--conns", type=int, default=1_000_000, help="connections; default: %(default)s")
    parser.add_argument("--step", choices=("prepare", "measure"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step == "prepare":
        prepare()
        return 0
    if arguments.step == "measure":
        print(json.dumps(measure(arguments.organization, arguments.conns)))
        return 0
    point = ("--organization", arguments.organization, "--conns", str(arguments.conns))
    in_fresh_process("--step", "prepare")
    found = json.loads(in_fresh_process("--step", "measure", *point).splitlines()[-1])
    peak, expected, limit = (f"{size / 2**30:.2f} GiB" for size in (found["peak_bytes"], found["expected_bytes"], LIMIT_BYTES))
    console = Console(highlight=False)
    load = f"{arguments.organization}, {arguments.conns:,} connections"
    console.print(f"{load}: {found['wall_seconds']:.1f} s, {found['goodput_mbps']:,.0f} Mb/s")
    console.print(f"peak resident size {peak} of {limit}; expected of the tables: {expected}")
    return int(found["peak_bytes"] > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main())
