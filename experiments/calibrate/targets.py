"""What is free in a calibration, how well the simulator then meets the publication, and the record of it in `conf/`.

The targets are the fitted parts of `experiments.paper.claims`; nothing else enters. Knows no terminal.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from omegaconf import MISSING

from experiments.calibrate.fit import Fit, Parameter, Target
from experiments.calibrate.yaml_edit import NotInFileError, with_block, with_values
from experiments.config.constant_groups import Constants, differences, scaled
from experiments.config.locations import CONF
from experiments.config.reader import read_structured
from experiments.paper.claims import CLAIMS
from experiments.paper.places import HEAVY, Composition, compose_places, points_of
from experiments.paper.verdicts import Origin, Place, PointKey, Within
from experiments.points.provenance import commit_label, provenance
from experiments.run.in_process import simulate_in_process
from experiments.run.stream import PointsFailedError
from netstack.errors import ConfigError
from netstack.sim import Result, SimulationConfig

SPECIFICATION = CONF / "calibration.yaml"
BLOCK = "calibration"
NOWHERE = Path()
"""The output folder of points that are not kept."""
_PARTS = dict.fromkeys(part for claim in CLAIMS for part in claim.parts)
FITTED = tuple(part for part in _PARTS if isinstance(part, Within) and part.origin is Origin.FITTED)
"""The published numbers that a fit may use, each once."""


@dataclass
class FreeConfig:
    """A parameter as `conf/calibration.yaml` gives it; `measured_by` defaults to its first key."""

    keys: list[str] = MISSING
    low: float = MISSING
    high: float = MISSING
    reason: str = MISSING
    source_says: str = ""
    measured_by: str | None = None


@dataclass
class CalibrationConfig:
    """All of `conf/calibration.yaml`."""

    repetitions: int = 16
    heavy_repetitions: int = 3
    warmup_ms: float = 250.0
    measure_ms: float = 250.0
    step: float = 0.04
    parameters: dict[str, FreeConfig] = field(default_factory=dict)

    def validate(self) -> None:
        """Raise ConfigError for the first value that no fit can use."""
        for name in ("repetitions", "heavy_repetitions"):
            if not 1 <= getattr(self, name) <= 100:
                raise ConfigError(name, getattr(self, name), "must be a whole number from 1 to 100")
        for name in ("warmup_ms", "measure_ms"):
            if not 0 < getattr(self, name) <= 600_000:
                raise ConfigError(name, getattr(self, name), "must be above 0 and at most 600000")
        if not 0.001 <= self.step <= 0.5:
            raise ConfigError("step", self.step, "must be from 0.001 to 0.5")


def read_specification(path: Path) -> CalibrationConfig:
    """Read what is free.

    Raises:
        ConfigError: The file is missing, or a value cannot be used.
        OmegaConfBaseException: A key or a type is wrong.
    """
    specification = read_structured(path, CalibrationConfig)
    specification.validate()
    return specification


def targets() -> list[Target]:
    """Return the published numbers that are fitted."""
    return [Target(part.quantity.label, part.quantity.unit, part.published, part.tolerance) for part in FITTED]


@dataclass(frozen=True)
class Free:
    """A free parameter and the values that it scales."""

    name: str
    members: Mapping[str, int | float]
    measured_by: str
    low: float
    high: float

    @property
    def parameter(self) -> Parameter:
        """The parameter as a fit takes it: it starts at the present value."""
        return Parameter(self.name, float(self.members[self.measured_by]), self.low, self.high)


def free_parameters(specification: CalibrationConfig, config: SimulationConfig) -> list[Free]:
    """Return the parameters with their present values.

    Raises:
        ConfigError: A key is unknown, is in two parameters, or is zero.
    """
    found: list[Free] = []
    owners: dict[str, str] = {}
    for name, free in specification.parameters.items():
        members = Constants(name, tuple(free.keys), free.source_says).members(config)
        measured_by = free.measured_by or next(iter(members))
        if measured_by not in members:
            raise ConfigError(f"parameters.{name}.measured_by", measured_by, "must be one of the parameter's keys")
        if members[measured_by] <= 0:
            raise ConfigError(measured_by, members[measured_by], f"must be above 0 to be scaled by {name}")
        for key in members:
            if owners.setdefault(key, name) != name:
                raise ConfigError(f"parameters.{name}", key, f"is in {owners[key]}, too")
        found.append(Free(name, members, measured_by, free.low, free.high))
    return found


def applied(config: SimulationConfig, free: Sequence[Free], values: Sequence[float]) -> SimulationConfig:
    """Return a configuration with other values of the free parameters."""
    for one, value in zip(free, values, strict=True):
        config = scaled(config, one.members, value / one.members[one.measured_by])
    return config


class Simulator:
    """The targets as a function of the free parameters: means over the same seeds at every evaluation."""

    def __init__(
        self, composition: Composition, free: Sequence[Free], workers: int, show: Callable[[int, float, int], None]
    ) -> None:
        """Simulate the points of `composition`, as many at a time as there are workers.

        `show` is called with evaluations, and with finished and all points of the present one.
        """
        self._workers = workers
        self._configs = dict(sorted(composition.configs.items(), key=lambda item: -item[0].conns))  # the longest first
        self._free = free
        self._show = show
        self._evaluations = 0

    def __call__(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """Return the simulated value of each target. Raises PointsFailedError when a point fails.

        Points run in this process and are not kept: each evaluation makes all of them new.
        """
        self._evaluations += 1
        configs = {key: applied(config, self._free, values) for key, config in self._configs.items()}
        points = points_of(configs, f"evaluation {self._evaluations}", NOWHERE)
        results: dict[PointKey, Result] = {}

        def show(activity: str, running: int, share: float = 0.0) -> None:
            self._show(self._evaluations, len(results) + share, len(points))

        with closing(simulate_in_process(list(points.values()), self._workers, show)) as arrivals:
            for outcome in arrivals:
                if outcome.result is None:
                    raise PointsFailedError(f"{outcome.point.label}: {outcome.failure}")
                results[PointKey.of(outcome.point.config)] = outcome.result
        estimates = [part.quantity.estimate(results) for part in FITTED]
        return tuple(estimate.mean for estimate in estimates if estimate is not None)


def fitted_places() -> list[Place]:
    """Return the places whose results are targets."""
    return sorted({place for part in FITTED for place in part.quantity.places})


def compose(specification: CalibrationConfig) -> Composition:
    """Compose the configurations that a fit simulates."""
    light, heavy = [], []
    for place in fitted_places():
        (heavy if place.conns >= HEAVY else light).append(place)
    some = compose_places(light, range(1, specification.repetitions + 1))
    for config in some.configs.values():
        config.engine.warmup_ms, config.engine.measure_ms = specification.warmup_ms, specification.measure_ms
    others = compose_places(heavy, range(1, specification.heavy_repetitions + 1))
    return Composition({**some.configs, **others.configs}, some.files)


def rewritten(composition: Composition, free: Sequence[Free], fit: Fit, lines: Sequence[str]) -> dict[Path, str]:
    """Return the files of `conf/` that hold free parameters, with the fitted values and a record of the fit.

    Raises:
        ConfigError: A file does not hold a value itself.
    """
    config = next(iter(composition.configs.values()))
    changes = differences(config, applied(config, free, fit.values))
    groups = dict.fromkeys(key.partition(".")[0] for one in free for key in one.members)
    texts = {}
    for group in groups:
        path = composition.files[group]
        own = {key[1:]: value for key, value in changes.items() if key[0] == group}
        try:
            texts[path] = with_block(with_values(path.read_text(encoding="utf-8"), own), BLOCK, lines)
        except NotInFileError as error:
            raise ConfigError(f"{group}.{error}", path.name, "must hold the value itself to be calibrated") from error
    return texts


def record(specification: CalibrationConfig, free: Sequence[Free], fit: Fit) -> list[str]:
    """Return what a calibrated file says about its calibration."""
    known = provenance()
    commit = commit_label(known)
    seeds = f"{specification.repetitions} seeds ({specification.heavy_repetitions} from {HEAVY:,} connections on)"
    lines = [
        f"python -m experiments.calibrate, {date.today():%Y-%m-%d}",
        f"{f'commit {commit}, ' if commit else ''}model {known['model.version']}, {seeds}, {fit.evaluations} evaluations",
        "fitted, each a group of values in proportion, see conf/calibration.yaml:",
    ]
    for one, value, determined_by in zip(free, fit.values, fit.determined_by, strict=True):
        before = one.members[one.measured_by]
        lines.append(f"  {one.name} x {value / before:.4f} ({one.measured_by}: {before:g} to {value:.1f}), by {determined_by}")
    lines.append("simulated with the fitted values, and published:")
    for target, value in zip(targets(), fit.simulated, strict=True):
        values = f"{value:,.{digits(target)}f} and {target.published:,g} {target.unit}"
        lines.append(f"  {target.name}: {values} ({100 * (value / target.published - 1):+.1f} %)")
    return lines


def digits(target: Target) -> int:
    """Return how many decimals a target's values are shown with."""
    return 0 if target.published >= 100 else 2
