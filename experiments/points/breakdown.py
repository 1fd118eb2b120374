"""Groups of cycle categories and of data structures, as tables, figures and the report show them.

Knows results only.
"""

from netstack.sim import Result

COLUMNS = {
    "stack": ("protocol", "application"),
    "driver": ("driver", "interrupt", "poll"),
    "copy": ("copy",),
    "sched": ("scheduling",),
    "locks": ("lock_atomic", "lock_spin", "lock_sleep", "lock_profile"),
    "stalls": ("cache_stall",),
}
"""What each column of a table sums: all categories but idling. Locks and cache stalls of the scheduler count as scheduling."""


STRUCTURES = {
    "connections": ("inpcb", "tcpcb", "timers", "bucket", "table"),
    "sockets": ("socket", "file", "knote", "application"),
    "buffers": ("mbuf", "page", "receive_mbuf", "receive_buffer", "zone", "page_queue"),
    "network cards": ("transmit_ring", "receive_ring", "interface"),
    "locks": ("lock_word",),
    "scheduler": ("run_queue", "vmmeter", "percpu", "event_queue", "message_port"),
    "threads": ("thread", "kernel_stack", "sleep_queue", "turnstile", "process"),
}
"""The data structures of a stack by what they belong to. Those of no group are shared by the whole kernel."""
OTHER_STRUCTURES = "kernel-wide"


def structure_misses(result: Result) -> dict[str, float]:
    """Return the L2 misses per KB of payload by group of data structures."""
    groups = dict.fromkeys((*STRUCTURES, OTHER_STRUCTURES), 0.0)
    of_structure = {name: group for group, names in STRUCTURES.items() for name in names}
    for name, statistics in result.misses.items():
        groups[of_structure.get(name, OTHER_STRUCTURES)] += statistics.l2_misses_per_kb
    return groups


def column_cycles(result: Result, column: str) -> float:
    """Return the cycles of all cores per KB of payload in a column's categories."""
    return sum(result.cycles_per_kb[category] for category in COLUMNS[column])


def busy_cycles(result: Result) -> float:
    """Return the cycles of all cores per KB of payload that were not idle."""
    return sum(cycles for category, cycles in result.cycles_per_kb.items() if category != "idle")
