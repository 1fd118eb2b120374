"""What the caches of a simulated machine hold, from the tags in their sets, and what the directory knows of it."""

import numpy as np

from netstack.sim.build.simulation import Simulation
from netstack.sim.machine.directory import CORES_PER_WORD


def contents(simulation: Simulation) -> dict[str, list[set[int]]]:
    """Return the lines of each cache, from the tags in its sets."""
    machine, cores, llcs = simulation.machine, simulation.config.machine.cores, simulation.config.machine.llcs

    def tags(level: str) -> np.ndarray:
        rows = simulation.tables[level].reshape(-1, int(machine[f"{level}_stride"]))
        return np.ascontiguousarray(rows[:, : 4 * int(machine[f"{level}_ways"])]).view(np.int32)

    def lines(rows: np.ndarray) -> set[int]:
        return set(rows[rows >= 0].tolist())

    l1 = tags("l1").reshape(cores, -1)
    l2 = tags("l2").reshape(int(machine["l2_sets"]), cores, -1)
    llc = tags("llc").reshape(llcs, -1)
    return {
        "l1": [lines(l1[core] >> 1) for core in range(cores)],
        "l2": [lines(l2[:, core] >> 1) for core in range(cores)],
        "llc": [lines(llc[group]) for group in range(llcs)],
    }


def known_holders(simulation: Simulation) -> tuple[list[set[int]], np.ndarray]:
    """Return the lines of each holder by the directory, last-level caches behind the cores, and the owner of each line, or -1."""
    words = simulation.tables["line"]["bits"].reshape(-1, int(simulation.machine["line_words"]))
    count = simulation.config.machine.cores + simulation.config.machine.llcs
    held = [words[:, who // CORES_PER_WORD] >> (who % CORES_PER_WORD) & 1 for who in range(count)]
    return [set(np.flatnonzero(bits).tolist()) for bits in held], (words[:, 0] >> (2 * CORES_PER_WORD)).astype(int) - 1
