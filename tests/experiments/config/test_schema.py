"""Every range around a simulation is checked where its keys are declared."""

from collections.abc import Callable
from dataclasses import fields

import pytest

from experiments.config.schema import KEYS, NAMING, SIMULATED, SURROUNDINGS, RayConfig, RunConfig, TrackingConfig
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig

BAD: dict[str, Callable[[], RayConfig | RunConfig | TrackingConfig]] = {
    "ray.retries=-1": lambda: RayConfig(retries=-1),
    "ray.time_limit_s=-1.5": lambda: RayConfig(time_limit_s=-1.5),
    "ray.patience_s=nan": lambda: RayConfig(patience_s=float("nan")),
    "ray.batch=0": lambda: RayConfig(batch=0),
    "ray.cores_per_actor=0": lambda: RayConfig(cores_per_actor=0),
    "ray.placement=NEAR": lambda: RayConfig(placement="NEAR"),
    "tracking.uri=": lambda: TrackingConfig(uri=""),
    "tracking.patience_s=-1": lambda: TrackingConfig(patience_s=-1),
    "workers=1025": lambda: RunConfig(workers=1025),
}


@pytest.mark.parametrize("line", BAD)
def test_a_value_out_of_range_is_named(line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line}: "):
        BAD[line]().validate()


def test_the_whole_configuration_checks_its_sections() -> None:
    RunConfig().validate()
    for section in (RunConfig(ray=RayConfig(batch=0)), RunConfig(tracking=TrackingConfig(uri=""))):
        with pytest.raises(ConfigError):
            section.validate()


def test_every_key_is_of_the_simulation_or_around_it_or_a_name() -> None:
    assert {key.name for key in fields(SimulationConfig)} == set(SIMULATED)
    assert sorted((*SIMULATED, *SURROUNDINGS, *NAMING)) == sorted(KEYS)


def test_the_simulated_part_shares_its_sections() -> None:
    whole = RunConfig(conns=6, seed=3)
    assert whole.simulation == SimulationConfig(conns=6, seed=3)
    assert whole.simulation.costs is whole.costs
