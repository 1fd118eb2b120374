"""The points of an experiment as games: for each case, a point without its free mechanisms, the value of each set of these.

Knows outcomes and objectives, not how shares are shown.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields

from experiments.config.grids import ExperimentConfig
from experiments.config.subsets import orders, subsets
from experiments.config.values import number
from experiments.points.point import Outcome, Point
from experiments.points.seeds import half_width, mean
from experiments.why.game import Game
from netstack.errors import ConfigError
from netstack.sim import Result, SimulationConfig, link_limit_mbps

GOODPUT = "goodput_mbps"
FULL = 0.95  # of the rate of full links


@dataclass(frozen=True)
class Objective:
    """A metric of a result, and whether less of it is better."""

    metric: str
    less: bool = False

    @classmethod
    def of(cls, config: SimulationConfig, given: str | None) -> "Objective":
        """Return what is given, with a minus in front if less is better, or what the workload is about."""
        if given is not None:
            return cls(given.removeprefix("-"), given.startswith("-"))
        workload = config.workload
        if workload.application in ("server", "proxy"):
            asked = workload.requests.rate_per_second is not None
            return cls("request_us/p99", less=True) if asked else cls("requests_per_second")
        return cls("connections_per_second" if workload.connections_end else GOODPUT)

    @property
    def unit(self) -> str:
        """The unit of the metric."""
        units = {declared.name: declared.metadata["unit"] for declared in fields(Result)}
        unit = units.get(self.metric.partition("/")[0], "")
        return "" if unit == "1" else unit

    @property
    def label(self) -> str:
        """The metric in words."""
        return self.metric.removesuffix("_mbps").replace("_", " ").replace("/", " ")

    def value(self, result: Result) -> float:
        """Return how good a result is: more is better. Raises ConfigError if it has no such metric."""
        metrics = result.metrics()
        if self.metric not in metrics:
            raise ConfigError("experiment.objective", self.metric, "is no metric of these points; docs/results.md lists them")
        return -metrics[self.metric] if self.less else metrics[self.metric]


@dataclass(frozen=True)
class Case:
    """A point of the experiment with all that is made free in it: games and results with nothing free, by seed."""

    series: str
    axis: str
    x: int | float
    config: SimulationConfig
    objective: Objective
    games: Sequence[Game]
    results: Sequence[Result]

    @property
    def label(self) -> str:
        """What tells the case from others."""
        x = f"{self.x:,}" if isinstance(self.x, int) else number(self.x)
        return f"{self.series} at {x}" if self.axis == "conns" else f"{self.series} at {self.axis}={x}"

    @property
    def players(self) -> tuple[str, ...]:
        """The mechanisms."""
        return self.games[0].players

    @property
    def base(self) -> float:
        """How good the point is as it is."""
        return mean([game.values[frozenset()] for game in self.games])

    @property
    def whole(self) -> float:
        """What all mechanisms cost together."""
        return mean([game.whole for game in self.games])

    @property
    def limit(self) -> float | None:
        """The rate of full links; None if the objective is no goodput."""
        return link_limit_mbps(self.config) if self.objective.metric == GOODPUT else None

    @property
    def links_are_full(self) -> bool:
        """Whether the links are full when all is free, within 5 %."""
        return self.limit is not None and self.base + self.whole >= FULL * self.limit

    def gain(self, *players: str) -> float | None:
        """Return what some mechanisms together cost with all others in place; None if that set was not run."""
        known = all(frozenset(players) in game.values for game in self.games)
        return mean([game.gain(*players) for game in self.games]) if known else None

    def last(self, player: str) -> float | None:
        """Return what a mechanism costs where all others are free; None if that set was not run."""
        rest = frozenset(self.players) - {player}
        return mean([game.last(player) for game in self.games]) if all(rest in game.values for game in self.games) else None

    def shares(self) -> dict[str, float]:
        """Return the fair share of each mechanism, the largest first."""
        found = [game.shares() for game in self.games]
        shares = {player: mean([one[player] for one in found]) for player in self.players}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def half_width(self, player: str) -> float:
        """Return half the 95 % confidence interval of a share: over seeds, or of one seed over drawn orders; 0 if neither."""
        if len(self.games) > 1:
            return half_width([game.shares()[player] for game in self.games])
        return self.games[0].half_widths()[player]

    def cycles_per_kb(self, category: str) -> float:
        """Return the cycles that the unchanged point counts for a category per KB."""
        return mean([result.cycles_per_kb[category] for result in self.results])


def cases_of(outcomes: Sequence[Outcome], experiment: ExperimentConfig) -> list[Case]:
    """Return the cases whose points are all finished for at least one seed, in the order of the experiment."""
    players = tuple(experiment.players)
    wanted = [frozenset(subset) for subset in subsets(players, experiment.permutations)]
    drawn = orders(players, experiment.permutations) if experiment.permutations is not None else []
    found: dict[tuple[str, float], dict[int, dict[frozenset[str], Outcome]]] = defaultdict(lambda: defaultdict(dict))
    for outcome in outcomes:
        if outcome.result is not None:
            key = _case_of(outcome.point)
            found[key][outcome.point.config.seed][frozenset(outcome.point.config.ideal)] = outcome
    cases = []
    for (series, x), seeds in found.items():
        whole = [known for known in seeds.values() if all(subset in known for subset in wanted)]
        if not whole:
            continue
        first = whole[0][frozenset()].point
        objective = Objective.of(first.config, experiment.objective)
        values = [
            {subset: objective.value(known[subset].result) for subset in wanted}  # pyright: ignore[reportArgumentType]
            for known in whole
        ]
        results = [result for known in whole if (result := known[frozenset()].result) is not None]
        games = [Game(players, each, drawn) for each in values]
        cases.append(Case(series, first.name.axis, x, first.config, objective, games, results))
    return cases


def check_cases(points: Sequence[Point], experiment: ExperimentConfig) -> None:
    """Raise ConfigError for points that no case can be made of, since two are alike or none has nothing free; or no objective."""
    objective = Objective.of(points[0].config, experiment.objective)
    if objective.metric.partition("/")[0] not in {declared.name for declared in fields(Result)}:
        raise ConfigError("experiment.objective", objective.metric, "is no statistic; docs/results.md lists them")
    found: dict[tuple[str, float, int], set[frozenset[str]]] = defaultdict(set)
    for point in points:
        key = (*_case_of(point), point.config.seed)
        ideal = frozenset(point.config.ideal)
        if ideal in found[key]:
            raise ConfigError("experiment.report", "why", f"needs points of different names, and two are {point.label}")
        found[key].add(ideal)
    if any(frozenset() not in ideals or len(ideals) < 2 for ideals in found.values()):
        raise ConfigError("ideal", "given", "must be left to the experiment: experiment.mechanisms=[...] chooses some")


def _case_of(point: Point) -> tuple[str, int | float]:
    return point.name.series.removesuffix(point.name.variant).rstrip(), point.name.x
