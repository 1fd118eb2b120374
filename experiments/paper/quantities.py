"""What is compared with the publication: quantities of results, each at one place or at several.

Knows results and organizations, not what was published of them.
"""

from collections.abc import Callable, Iterable
from statistics import fmean

from experiments.paper.grid import UP, Organization
from experiments.paper.verdicts import Place, Quantity, organization_label
from experiments.points.breakdown import column_cycles
from netstack.sim import Result


def goodput(organization: Organization, load: int) -> Quantity:
    """Return the goodput of an organization at a load."""
    return _quantity("goodput", "Mb/s", organization, load, lambda result: result.goodput_mbps)


def misses(organization: Organization, load: int) -> Quantity:
    """Return the L2 data misses per KB of an organization at a load."""
    return _quantity("L2 misses", "1/KB", organization, load, lambda result: result.l2_misses_per_kb)


def contention(organization: Organization, load: int, profiled: bool = True) -> Quantity:
    """Return how many acquisitions of global TCP/IP locks had to wait: with lock profiling, as in table 1, or without."""
    place = Place(*organization, load, profiled)
    return Quantity(f"waits of {place.label}", "%", (place,), lambda result: result.lock["global"].not_immediate_percent)


def locking(organization: Organization, load: int) -> Quantity:
    """Return the cycles per KB in locked instructions and in spinning and sleeping for locks, except the scheduler's."""
    return _quantity("locking", "cycles/KB", organization, load, lambda result: column_cycles(result, "locks"))


def scheduling(organization: Organization, load: int) -> Quantity:
    """Return the cycles per KB in the scheduler and its synchronization, as table 3 counts them, and in hand-offs."""
    return _quantity("scheduling", "cycles/KB", organization, load, lambda result: column_cycles(result, "sched"))


def overhead(column: str, organization: Organization, load: int) -> Quantity:
    """Return how many cycles per KB an organization spends in a column beyond the uniprocessor's at the same load."""
    places = (_place(organization, load), _place(UP, load))
    names = {"locks": "locking", "sched": "scheduling", "stalls": "cache stalls"}
    return Quantity(
        f"added {names[column]} of {places[0].label}",
        "cycles/KB",
        places,
        lambda result, up: column_cycles(result, column) - column_cycles(up, column),
    )


def gain_percent(organization: Organization, load: int) -> Quantity:
    """Return by how much an organization's goodput is above the uniprocessor's."""
    places = (_place(organization, load), _place(UP, load))
    return Quantity(f"gain of {places[0].label} over up", "%", places, _gain)


def mean_gain_percent(organization: Organization, loads: Iterable[int]) -> Quantity:
    """Return by how much an organization's goodput is above the uniprocessor's, averaged over loads."""
    gains = [gain_percent(organization, load) for load in loads]
    places = tuple(place for gain in gains for place in gain.places)

    def compute(*results: Result) -> float:
        return fmean(_gain(result, up) for result, up in zip(results[::2], results[1::2], strict=True))

    label = f"mean gain of {organization_label(*organization)} over up at {len(gains)} loads"
    return Quantity(label, "%", places, compute)


def times(factor: float, quantity: Quantity) -> Quantity:
    """Return a multiple of a quantity."""
    compute = quantity.compute
    return Quantity(f"{factor:g} × {quantity.label}", quantity.unit, quantity.places, lambda *results: factor * compute(*results))


def constant(label: str, unit: str, value: float) -> Quantity:
    """Return a quantity that needs no simulation."""
    return Quantity(label, unit, (), lambda: value)


def _gain(result: Result, up: Result) -> float:
    return 100 * (result.goodput_mbps / up.goodput_mbps - 1)


def _quantity(name: str, unit: str, organization: Organization, load: int, compute: Callable[[Result], float]) -> Quantity:
    place = _place(organization, load)
    return Quantity(f"{name} of {place.label}", unit, (place,), compute)


def _place(organization: Organization, load: int) -> Place:
    return Place(*organization, load)
