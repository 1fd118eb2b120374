"""What a sweep costs beyond simulation: a thousand short points on two Ray nodes of this machine, and the memory of its driver.

Run from the repository root, so that its packages are found:

    python -m benchmarks.sweep
    python -m benchmarks.sweep --points 200 --json sweep.json

The points differ in their seed. Code is compiled before the clock starts. The overhead of a point is the time between it and the
point before, less its share of the simulation: its simulation's wall time divided by the nodes. It is given for results (kept on
the disk) and for runs (logged in MLflow, some at a time), as the mean of all points; and for the whole command, with
the start of Ray and MLflow, composition, the table and the figures, divided by the points. The resident size of the driver is
read when so many results are kept. Exits with 1 if a point is not in MLflow once.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from benchmarks.points import ROOT
from experiments.run.task import compile_once
from netstack.sim import Result

NODES = 2
OBJECT_STORE_BYTES = 80 * 2**20
SHORT = ("conns=6", "engine.warmup_ms=1", "engine.measure_ms=1")
MARKS = (100, 500, 1000)  # finished points at which memory is read
LOOK_SECONDS = 0.05


def run_sweep(points: int, output_dir: Path, address: str) -> tuple[float, dict[int, int]]:
    """Run the sweep; return its wall time in seconds, and the driver's resident bytes by the number of finished points."""
    arguments = ["-m", *SHORT, f"seed=range(1,{points + 1})", f"output_dir={output_dir}"]
    cluster = [f"ray.address={address}", "ray.send_sources=false"]
    started = time.perf_counter()
    resident: dict[int, int] = {}
    with (output_dir / "output.txt").open("w") as output:
        process = subprocess.Popen([sys.executable, "run.py", *arguments, *cluster], cwd=ROOT, stdout=output, stderr=output)
        driver = psutil.Process(process.pid)
        folder = output_dir / "points"
        while process.poll() is None:
            done = sum(1 for _ in folder.iterdir()) if folder.exists() else 0
            for mark in {*MARKS, points}:
                if done >= mark and mark not in resident:
                    resident[mark] = driver.memory_info().rss
            time.sleep(LOOK_SECONDS)
    elapsed = time.perf_counter() - started
    if process.returncode != 0:
        raise SystemExit((output_dir / "output.txt").read_text())
    return elapsed, resident


def measure(points: int, output_dir: Path) -> dict:
    """Run the sweep on nodes of its own; return what it cost."""
    os.environ["PYTHONPATH"] = str(ROOT)  # for the workers of the nodes
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        for _ in range(NODES - 1):
            cluster.add_node(**node)
        elapsed, resident = run_sweep(points, output_dir, str(cluster.address))
    finally:
        cluster.shutdown()
    files = sorted((output_dir / "points").glob("[!.]*/result.json"), key=lambda path: path.stat().st_mtime_ns)
    kept = [path.stat().st_mtime for path in files]
    simulated = [Result.from_json(path.read_text()).wall_seconds for path in files]
    with closing(sqlite3.connect(output_dir / "mlflow.db")) as database:
        children = "from runs join tags on runs.run_uuid = tags.run_uuid and tags.key = 'fingerprint' where status = 'FINISHED'"
        logged = [ended / 1000 for (ended,) in database.execute(f"select end_time {children} order by end_time")]
        distinct = database.execute(f"select count(distinct tags.value) {children}").fetchone()[0]
    return {
        "points": points,
        "once_in_mlflow": len(logged) == distinct == points,
        "simulation_ms": 1000 * statistics.median(simulated),
        "result_overhead_ms": _overhead_ms(kept, simulated),
        "run_overhead_ms": _overhead_ms(logged, simulated),
        "whole_overhead_ms": 1000 * (elapsed - sum(simulated) / NODES) / points,
        "wall_seconds": elapsed,
        "resident_bytes": resident,
    }


def _overhead_ms(stamps: Sequence[float], simulated: Sequence[float]) -> float:
    return 1000 * ((stamps[-1] - stamps[0]) / (len(stamps) - 1) - statistics.fmean(simulated) / NODES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description="What a sweep costs beyond simulation.")
    parser.add_argument("--points", type=int, default=1000, help="points of the sweep (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    given = parser.parse_args(arguments)
    if given.points < 2:
        parser.error("--points: must be 2 or more")
    console = Console()
    compile_once()
    with tempfile.TemporaryDirectory(prefix="netstack-sweep-") as folder:
        figures = measure(given.points, Path(folder))
    console.print(f"{given.points} points on {NODES} nodes: {figures['wall_seconds']:.1f} s")
    console.print(f"simulation of a point, median:        {figures['simulation_ms']:6.1f} ms")
    console.print(f"overhead of a result, mean:           {figures['result_overhead_ms']:6.1f} ms")
    console.print(f"overhead of a run in MLflow, mean:    {figures['run_overhead_ms']:6.1f} ms")
    console.print(f"overhead of the whole, a point:       {figures['whole_overhead_ms']:6.1f} ms")
    for mark, resident in sorted(figures["resident_bytes"].items()):
        console.print(f"driver's memory at {mark:5} points:       {resident / 2**20:6.0f} MiB")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")
    if not figures["once_in_mlflow"]:
        console.print("not every point is in MLflow once")
    return 0 if figures["once_in_mlflow"] else 1


if __name__ == "__main__":
    sys.exit(main())
