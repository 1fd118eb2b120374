"""A small sensitivity analysis as a file says it, and claims and points made by hand."""

from collections.abc import Callable, Mapping

from experiments.paper.grid import CONNP_L, MSGP, UP
from experiments.paper.quantities import goodput
from experiments.paper.verdicts import Claim, Greater, PointKey, Within
from netstack.sim import Result

MakeResult = Callable[..., Result]
Points = dict[PointKey, Result]
SMALL = """
percent: 20
full: {seeds: [1, 2], loads: [6, 16384], profiled: {4: [6]}}
quick: {seeds: [1], loads: [6]}
parameters:
  locks: ["costs.operations.lock_*quire.cycles"]
  memory: ["machine.latency.memory_*"]
  distance: [workload.rtt_min_us, workload.rtt_max_us]
"""


def points_of(make: MakeResult, goodputs: Mapping[tuple[str, int], tuple[float, ...]], load: int = 6) -> Points:
    """Return points with a goodput per seed for each organization."""
    return {
        PointKey(org, load, groups, seed): make(value)
        for (org, groups), values in goodputs.items()
        for seed, value in enumerate(values, 1)
    }


def claim_of(*parts: Greater | Within, needed: int | None = None) -> Claim:
    return Claim(name="made up", sentence="", published="", definition="", parts=parts, needed=needed)


ORDER = claim_of(Greater(goodput(CONNP_L, 6), goodput(UP, 6)), Greater(goodput(MSGP, 6), goodput(UP, 6)))
NUMBER = claim_of(Within(goodput(UP, 6), 4000, 200))
