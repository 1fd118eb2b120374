"""A costs file names all that the simulation charges or touches by itself: nothing is free because it was forgotten."""

import copy

import pytest

from experiments.config.compose import compose_simulation
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig
from netstack.sim.machine.costs import REQUIRED, CostsConfig
from netstack.sim.machine.numbers import Operation
from netstack.sim.stack.numbers import Callout


@pytest.fixture(scope="module")
def freebsd() -> CostsConfig:
    return compose_simulation().costs


@pytest.fixture
def costs(freebsd: CostsConfig) -> CostsConfig:
    return copy.deepcopy(freebsd)


def refused(costs: CostsConfig) -> str:
    with pytest.raises(ConfigError) as raised:
        costs.validate()
    return str(raised.value)


@pytest.mark.parametrize("name", Operation.all_keys())
def test_an_operation_that_is_missing_is_named(name: str, costs: CostsConfig) -> None:
    del costs.operations[name]
    assert refused(costs).startswith(f"costs=freebsd7: has no operations {name}; ")


@pytest.mark.parametrize("name", REQUIRED)
def test_a_structure_that_the_simulation_touches_by_itself_is_named(name: str, costs: CostsConfig) -> None:
    del costs.structures[name]
    assert refused(costs).startswith(f"costs=freebsd7: has no structures {name}; ")


def test_all_that_is_missing_is_in_one_line(costs: CostsConfig) -> None:
    costs.structures.clear()
    del costs.operations["tcp_input"], costs.operations["ip_input"]
    assert refused(costs).startswith(
        "costs=freebsd7: has no structures inpcb, timers, transmit_ring, receive_ring, receive_buffer "
        "and operations ip_input, tcp_input; "
    )


def test_a_configuration_without_costs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^costs=none: has no structures .* and operations app_event, .*, port_search; "):
        SimulationConfig().validate()


@pytest.mark.parametrize("name", REQUIRED)
def test_a_structure_is_there_for_each_of_what_indexes_it(name: str, costs: CostsConfig) -> None:
    """The simulation takes the instance of a connection or of a ring's slot, whatever the file says that there is one of."""
    costs.structures[name].per = "kernel"
    per = "flow" if name in ("inpcb", "timers") else name[0] + "x_slot"
    assert refused(costs) == f"costs.structures.{name}.per=kernel: must be {per}"


def test_each_timer_has_a_line(costs: CostsConfig) -> None:
    assert REQUIRED["timers"].lines == len(Callout)
    costs.structures["timers"].lines = len(Callout) - 1
    for operation in costs.operations.values():
        operation.touches = [touch for touch in operation.touches if not touch.startswith("timers")]
    assert refused(costs) == "costs.structures.timers.lines=1: must be from 2 to 1024"


def test_what_costs_nothing_says_so(costs: CostsConfig) -> None:
    costs.operations["so_notify"].cycles = 0
    costs.operations["so_notify"].touches = []
    costs.structures["inpcb"].modelled = False
    costs.validate()
