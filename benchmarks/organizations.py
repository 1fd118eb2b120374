"""Measures the organizations after 2006, each beside its neighbours, and writes the tables of their pages anew:

    python -m benchmarks.organizations
    python -m benchmarks.organizations zygos tas

Run from the root of the tree. Eight cores of an EPYC 7662; a cache (`memcached`) in a closed loop, the same at 400,000 requests a
second, and a web server with a connection per request. A point takes about 6 s.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import cache

from benchmarks.fidelity import with_table
from benchmarks.points import ROOT
from experiments.config.compose import compose_simulation
from netstack.sim import Result, simulate

PAGES = ROOT / "docs" / "organizations"
MACHINE = ("machine=epyc_7662", "engine.warmup_ms=15", "engine.measure_ms=20", "workload.start_spread_us=5000")
WORKLOADS: Mapping[str, tuple[str, ...]] = {
    "closed": ("workload=memcached", "conns=4480"),
    "open": ("workload=memcached", "conns=4480", "workload.requests.rate_per_second=400000"),
    "short": ("workload=web_short", "conns=3200", "workload.client_addresses=64"),
}
KERNEL, LEAN = "costs=linux6", "costs=lean"
HEADINGS = (
    "requests/s",
    "kilocycles a request",
    "of these, waits",
    "p99 in us at 400,000/s",
    "IPIs a segment",
    "short connections/s",
)
Row = tuple[str, ...]
"""What a row of a table is: the organization, its costs, and other overrides."""
APART = tuple(f"org.stack_cores={cores}" for cores in (2, 4))
OTHERS: Mapping[str, Sequence[Row]] = {
    "linux_rss": [("linux_rps", KERNEL), ("linux_reuseport", KERNEL)],
    "linux_rps": [("linux_rss", KERNEL), ("linux_rfs", KERNEL)],
    "linux_rfs": [("linux_rps", KERNEL), ("linux_arfs", KERNEL)],
    "linux_arfs": [("linux_rss", KERNEL), ("linux_rfs", KERNEL)],
    "linux_reuseport": [("linux_rss", KERNEL), ("linux_incoming_cpu", KERNEL)],
    "linux_incoming_cpu": [("linux_reuseport", KERNEL), ("linux_threaded_napi", KERNEL)],
    "linux_threaded_napi": [("linux_incoming_cpu", KERNEL)],
    "linux_busy_poll": [("linux_incoming_cpu", KERNEL), ("linux_suspend", KERNEL)],
    "linux_suspend": [("linux_incoming_cpu", KERNEL), ("linux_busy_poll", KERNEL)],
    "freebsd_pcbgroups": [("linux_rss", KERNEL), ("freebsd_pcbgroups", KERNEL, "org.groups=1"), ("freebsd_smr", KERNEL)],
    "freebsd_smr": [("freebsd_pcbgroups", KERNEL), ("linux_reuseport", KERNEL)],
    "affinity_accept": [("linux_incoming_cpu", KERNEL), ("fastsocket", KERNEL)],
    "fastsocket": [("linux_incoming_cpu", KERNEL), ("megapipe", KERNEL)],
    "megapipe": [("fastsocket", KERNEL)],
    "ix": [("linux_busy_poll", KERNEL), ("mtcp", KERNEL), ("ix", LEAN)],
    "seastar": [("ix", KERNEL), ("seastar", LEAN)],
    "f_stack": [("seastar", LEAN), ("linux_busy_poll", KERNEL)],
    "zygos": [("ix", KERNEL), ("zygos", LEAN)],
    "mtcp": [("ix", KERNEL), ("mtcp", LEAN)],
    "tas": [("mtcp", KERNEL), ("tas", KERNEL, APART[1]), ("tas", LEAN, APART[0]), ("tas", LEAN, APART[1])],
}
"""What each organization is measured beside."""


@cache
def measured(row: Row, workload: str) -> Result:
    """Return the result of an organization with a workload."""
    organization, *overrides = row
    return simulate(compose_simulation(*MACHINE, *WORKLOADS[workload], f"org={organization}", *overrides))


def line(row: Row, results: Mapping[str, Result]) -> str:
    """Return a line of a table."""
    closed, steady, short = (results[workload] for workload in WORKLOADS)
    organization, costs, *others = row
    named = " ".join([f"`{organization}`", *(f"`{override}`" for override in ([costs] if costs != KERNEL else []) + others)])
    keeps_up = steady.requests_per_second > 0.98 * 400_000
    cells = (
        f"{closed.requests_per_second:,.0f}",
        f"{closed.kilocycles_per_request:.1f}",
        f"{closed.stall_kilocycles_per_request:.1f}",
        f"{steady.request_us['p99']:,.0f}" if keeps_up else "does not keep up",
        f"{steady.ipis_per_segment:.2f}",
        f"{short.connections_per_second:,.0f}",
    )
    return f"| {named} | {' | '.join(cells)} |"


def table(rows: Sequence[Row]) -> str:
    """Return a table as Markdown."""
    lines = ["| organization | " + " | ".join(HEADINGS) + " |", "| --- |" + " --- |" * len(HEADINGS)]
    return "\n".join([*lines, *(line(row, {workload: measured(row, workload) for workload in WORKLOADS}) for row in rows)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.organizations", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="ORGANIZATION", help="whose page is written; all by default")
    for name in parser.parse_args(arguments).names or OTHERS:
        text = table([(name, KERNEL), *OTHERS[name]])
        print(f"{name}\n\n{text}\n", flush=True)
        page = PAGES / f"{name}.md"
        page.write_text(with_table(page.read_text(), text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
