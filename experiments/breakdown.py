"""The categories of cycles, put together as readers of tables and reports think of them.

Knows results only.
"""

from netstack.engine import Result

COLUMNS = {
    "stack": ("protocol", "application"),
    "driver": ("driver", "interrupt"),
    "copy": ("copy",),
    "sched": ("scheduling",),
    "locks": ("lock_atomic", "lock_spin", "lock_sleep"),
    "stalls": ("cache_stall",),
}
"""What each column of a table sums: all categories but idling."""


def column_cycles(result: Result, column: str) -> float:
    """Return the cycles of all cores per KB of payload in a column's categories."""
    return sum(result.cycles_per_kb[category] for category in COLUMNS[column])


def busy_cycles(result: Result) -> float:
    """Return the cycles of all cores per KB of payload that were not idle."""
    return sum(cycles for category, cycles in result.cycles_per_kb.items() if category != "idle")
