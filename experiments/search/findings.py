"""What a search found: the ranking of what was run, the effects of choices, the front of two objectives.

Knows compositions and their results, not how they are shown.
"""

from dataclasses import dataclass

from experiments.points.statistics import GREATER_IS_BETTER
from experiments.search.effects import Effect, implied_choices, main_effects, pair_effects, pareto_front
from experiments.search.plan import Candidate, SearchPlan

BEST_ROWS = 10  # of a table


@dataclass(frozen=True)
class Findings:
    """What a search found.

    Attributes:
        ranking: Finished candidates, the best first.
        front: Places in `ranking` that no other candidate beats in both objectives.
        effects: Of each value of each choice on the first objective.
        pairs: How much the effect of one choice depends on another one.
        objectives: The two statistics.
        implied: Choices that follow from another one, and from which.
        compositions: How many there are in the space.
        is_sampled: Whether only some of them were run.
    """

    ranking: list[Candidate]
    front: list[int]
    effects: list[Effect]
    pairs: dict[tuple[str, str], float]
    implied: dict[str, str]
    objectives: tuple[str, str]
    compositions: int
    is_sampled: bool

    @property
    def alike(self) -> int:
        """How many candidates, the best one among them, have an interval that reaches that of the best one."""
        first = self.objectives[0]
        sign = 1 if first in GREATER_IS_BETTER else -1
        best = self.ranking[0]
        limit = sign * best.mean(first) - best.half_width(first)
        return sum(sign * each.mean(first) + each.half_width(first) >= limit for each in self.ranking)

    def shown(self) -> list[int]:
        """Return the places of the best candidates and of all published ones."""
        return [place for place, each in enumerate(self.ranking) if place < BEST_ROWS or each.published]


def findings_of(plan: SearchPlan, second: str) -> Findings | None:
    """Return what a search found by its plan's objective and a second one; None if nothing finished."""
    ranking = plan.finished()
    if not ranking:
        return None
    objectives = (plan.objective, second)
    signs = [1 if name in GREATER_IS_BETTER else -1 for name in objectives]
    columns = [[each.mean(name) for each in ranking] for name in objectives]
    values = {each.index: each.mean(plan.objective) for each in ranking if each.index is not None}
    return Findings(
        ranking,
        pareto_front(columns[0], columns[1], (signs[0], signs[1])),
        main_effects(plan.space, values),
        pair_effects(plan.space, values),
        implied_choices(plan.space),
        objectives,
        len(plan.space.compositions),
        plan.is_sampled,
    )
