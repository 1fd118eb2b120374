"""Which compositions a search runs: all of them, or those that a sampler asks for.

A sampler is asked for so many at a time, and told what came of them in that order, so that a second launch asks for the same.
Knows points and their results, not how they run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments.points.names import AXIS, PointName
from experiments.points.point import Outcome, Point
from experiments.points.seeds import half_width, mean
from experiments.points.statistics import GREATER_IS_BETTER, statistic
from experiments.search.space import Space, named_after
from netstack.sim import SimulationConfig

AT_A_TIME = 8  # compositions that a sampler is asked for together, whatever the number of CPUs


@dataclass
class Candidate:
    """A composition, or a published organization that is none of them.

    Attributes:
        points: One per seed.
        index: Of the composition; None for an organization that differs in more than the choices.
        published: Whether it is a file of `conf/org/`.
        outcomes: What came of the points, by seed.
    """

    points: list[Point]
    index: int | None
    published: bool
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its organization."""
        return self.points[0].config.org.name

    @property
    def is_whole(self) -> bool:
        """Whether all points have an outcome."""
        return len(self.outcomes) == len(self.points)

    @property
    def is_finished(self) -> bool:
        """Whether all points have a result."""
        return self.is_whole and all(outcome.result is not None for outcome in self.outcomes.values())

    def mean(self, name: str) -> float:
        """Return the mean of a statistic over the seeds."""
        return mean(self._values(name))

    def half_width(self, name: str) -> float:
        """Return half the width of the mean's 95 % confidence interval; 0 for a single seed."""
        return half_width(self._values(name))

    def _values(self, name: str) -> list[float]:
        read = statistic(name)
        return [read(outcome.result) for outcome in self.outcomes.values() if outcome.result is not None]


@dataclass(frozen=True)
class Budget:
    """How much a search may run: compositions beside published organizations, and seeds of each."""

    compositions: int
    seeds: tuple[int, ...]


class SearchPlan:
    """The points of a search.

    Args:
        space: Where to search.
        published: Points of published organizations, which are run whatever the budget.
        budget: How much may be run.
        objective: The statistic of which most, or least, is wanted.
        sampled: Whether a sampler chooses, even where everything fits the budget.
        output_dir: Where points are kept.
    """

    def __init__(
        self,
        space: Space,
        published: Sequence[SimulationConfig],
        budget: Budget,
        objective: str,
        sampled: bool,
        output_dir: Path,
    ) -> None:
        self.space, self.budget, self.objective, self._output_dir = space, budget, objective, output_dir
        self._published = [config.org for config in published]
        self.candidates: list[Candidate] = []
        self._by_point: dict[str, Candidate] = {}
        self._taken: set[int] = set()
        for config in published:
            self._add(config, space.index_of(config.org), published=True)
        left = [index for index in range(len(space.compositions)) if index not in self._taken]
        self.is_sampled = sampled or len(left) > budget.compositions
        self._sampler = _Sampler(space, objective) if self.is_sampled else None
        self._left = min(budget.compositions, len(left))
        self._asked: list[Candidate] = list(self.candidates)
        if self._sampler is None:
            for index in left:
                self._add_composition(index)

    @property
    def points(self) -> list[Point]:
        """All points so far, those of a composition side by side."""
        return [point for candidate in self.candidates for point in candidate.points]

    def more(self, outcome: Outcome) -> list[Point]:
        """Take an outcome; return the points that the sampler asks for when it has been told of all before."""
        self._by_point[outcome.point.fingerprint].outcomes[outcome.point.config.seed] = outcome
        sampler = self._sampler
        if sampler is None or not self._left or not all(candidate.is_whole for candidate in self._asked):
            return []
        for candidate in self._asked:
            if candidate.index is not None and candidate.is_finished:
                sampler.tell(candidate.index, candidate.mean(self.objective))
        self._asked = [self._add_composition(sampler.ask(self._taken)) for _ in range(min(AT_A_TIME, self._left))]
        self._left -= len(self._asked)
        return [point for candidate in self._asked for point in candidate.points]

    def finished(self) -> list[Candidate]:
        """Return the candidates with results, the best first."""
        sign = -1 if self.objective in GREATER_IS_BETTER else 1
        return sorted((each for each in self.candidates if each.is_finished), key=lambda each: sign * each.mean(self.objective))

    def _add_composition(self, index: int) -> Candidate:
        org = self.space.config(index, "").org
        return self._add(self.space.config(index, named_after(org, self._published)), index)

    def _add(self, config: SimulationConfig, index: int | None, published: bool = False) -> Candidate:
        points = []
        for seed in self.budget.seeds:
            of_seed = replace(config, seed=seed)
            points.append(Point(of_seed, PointName(config.org.name, AXIS, config.conns, seed), self._output_dir))
        candidate = Candidate(points, index, published)
        self.candidates.append(candidate)
        self._by_point |= {point.fingerprint: candidate for point in points}
        if index is not None:
            self._taken.add(index)
        return candidate


class _Sampler:
    """Optuna's tree-structured Parzen estimator. What it proposes and is refused becomes the nearest composition that is not."""

    def __init__(self, space: Space, objective: str) -> None:
        import optuna  # slow to import

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._create_trial: Any = optuna.trial.create_trial
        self._failed = optuna.trial.TrialState.FAIL
        self._space = space
        direction = "maximize" if objective in GREATER_IS_BETTER else "minimize"
        self._study = optuna.create_study(direction=direction, sampler=optuna.samplers.TPESampler(seed=1))
        categorical: Any = optuna.distributions.CategoricalDistribution
        self._distributions = {key: categorical(range(len(values))) for key, values in space.choices.items()}

    def ask(self, taken: set[int]) -> int:
        """Return the composition that is nearest to what the estimator proposes, of those that are not taken."""
        trial = self._study.ask(self._distributions)
        self._study.tell(trial, state=self._failed)  # what is told later is what was run
        proposed = [trial.params[key] for key in self._space.choices]
        distances = (self._space.codes != proposed).sum(axis=1)
        distances[list(taken)] = distances.max() + 1
        return int(distances.argmin())

    def tell(self, index: int, value: float) -> None:
        """Say what a composition achieved."""
        parameters = dict(zip(self._space.choices, map(int, self._space.codes[index]), strict=True))
        self._study.add_trial(self._create_trial(params=parameters, distributions=self._distributions, value=value))
