"""Why windows are cut: which records keep the cores of a windowed simulation from running alone for as long as they could.

Run from the repository root, so that its packages are found:

    python -m benchmarks.collisions
    python -m benchmarks.collisions --organizations msgp --conns 192 --windows 0.5,1,2,4

Prints for each point and window how many rounds a simulated ms takes, how many of the windows are whole (nothing is done again),
how many steps hold, and the share of windows in which each kind of record collides: a core touched one that another core had
changed before it. `interrupt` stands for what comes after an event that one core gave another. The last columns say how many
windows would be whole if no message could collide (threads, queues, items and the cores that are notified), and how many rounds
there would be if every window were whole.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.config.compose import compose_simulation
from experiments.run.task import compile_once
from netstack.errors import ConfigError
from netstack.jit.tables import EXCLUSIVE, JOURNALED
from netstack.sim import Lockstep, SimulationConfig, are_over, no_messages
from netstack.sim.engine.windows import messages as codec
from netstack.sim.engine.windows.merge import CORE_NEXT_TIME, NIC_NEXT_TIME

ORGANIZATIONS = "connp_t,dragonflybsd,solaris10"
LENGTHS = ("engine.warmup_ms=1", "engine.measure_ms=2")
SIMULATED_MS = 3
TABLES = {table.number: table for table in JOURNALED.values()}
MESSAGES = {"thread", "queue", "item", "core", "interrupt"}


@dataclass(frozen=True)
class Step:
    """A step of a window: when, by which actor and core, which records it touched, and which words it changed to what."""

    time: int
    actor: int
    core: int
    touched: list[int]
    changes: list[tuple[int, int]]


def steps_of(message: list[int], core: int) -> Iterator[Step]:
    """Yield the steps of a core's message."""
    start = codec.HEAD_WORDS
    for _ in range(message[codec.MESSAGE_STEPS]):
        records = start + codec.STEP_WORDS
        changes = records + message[start + codec.TOUCHED]
        events = changes + 2 * message[start + codec.CHANGED]
        pairs = zip(message[changes:events:2], message[changes + 1 : events : 2], strict=True)
        yield Step(message[start + codec.TIME], message[start + codec.ACTOR], core, message[records:changes], list(pairs))
        start = events + message[start + codec.TOLD]


def causes_of(steps: Sequence[Step], cores: int) -> list[set[str]]:
    """Return for each step, in order, what it collides with."""
    written: dict[int, int] = {}
    horizon = sys.maxsize
    found = []
    for step in steps:
        causes = {
            TABLES[record >> codec.INDEX_BITS].name.removesuffix("_table")
            for record in step.touched
            if written.get(record, step.core) != step.core
        }
        found.append(causes | {"interrupt"} if step.time > horizon else causes)
        for place, value in step.changes:
            field, index = place >> codec.INDEX_BITS, place & codec.INDEX_MASK
            table = TABLES[field >> codec.WORD_BITS]
            if table.policies[field & codec.WORD_MASK] == EXCLUSIVE:
                written[table.number << codec.INDEX_BITS | index] = step.core
            if (field == CORE_NEXT_TIME and index != step.core) or (field == NIC_NEXT_TIME and index % cores != step.core):
                horizon = min(horizon, value)
    return found


@dataclass
class Counts:
    """What was counted of the windows of a point."""

    rounds: int = 0
    whole: int = 0
    whole_but_messages: int = 0
    steps: int = 0
    held: int = 0

    def __post_init__(self) -> None:
        self.causes: Counter[str] = Counter()

    def add(self, causes: Sequence[set[str]]) -> None:
        """Count a window by the causes of its steps."""
        first = next((number for number, each in enumerate(causes) if each), len(causes))
        together = set().union(*causes)
        self.rounds += 1
        self.whole += not together
        self.whole_but_messages += together <= MESSAGES
        self.steps += len(causes)
        self.held += first
        self.causes.update(together)


def count(config: SimulationConfig) -> Counts:
    """Simulate a point in windows; return what its windows collided with."""
    cores = config.cores_used
    lockstep = Lockstep([config], range(cores), cores)
    counts = Counts()
    parts = lockstep.round(no_messages(cores))
    while not are_over(parts):
        words = parts.tolist()
        steps = [step for core in range(cores) for step in steps_of(words[words[core] : words[core + 1]], core)]
        if steps:
            counts.add(causes_of(sorted(steps, key=lambda step: (step.time, step.actor)), cores))
        parts = lockstep.round(parts)
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what windows collide with; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collisions", description="Why windows are cut.")
    parser.add_argument("--organizations", default=ORGANIZATIONS, help="names of conf/org (default: %(default)s)")
    parser.add_argument("--conns", default="6,192,1536", help="connections (default: %(default)s)")
    parser.add_argument("--windows", default="0.5,2", help="windows in us (default: %(default)s)")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, width=180)
    names = ("whole", "steps hold", "collides with", "whole but for messages", "rounds if all were whole")
    table = Table("point", "window us", "rounds a ms", *names, box=box.SIMPLE_HEAD)
    try:
        compile_once(windows=True)
        for org in options.organizations.split(","):
            for conns in options.conns.split(","):
                for window in options.windows.split(","):
                    point = (f"org={org}", f"conns={conns}", f"engine.window_us={window}", *LENGTHS)
                    counts = count(compose_simulation(*point))
                    shares = [f"{name} {share / counts.rounds:.0%}" for name, share in counts.causes.most_common(6)]
                    values = [f"{value / counts.rounds:.0%}" for value in (counts.whole, counts.whole_but_messages)]
                    rounds_per_ms, held = counts.rounds / SIMULATED_MS, counts.held / counts.steps
                    row = (f"{rounds_per_ms:.0f}", values[0], f"{held:.0%}", ", ".join(shares), values[1])
                    table.add_row(f"{org} {conns}", window, *row, f"{rounds_per_ms * held:.0f}")
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
