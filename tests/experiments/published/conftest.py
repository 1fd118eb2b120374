"""A small publication: two variants at 1, 2 and 4 cores, with what is given of them."""

import pytest

from experiments.published.figures import Axis, Free, Given, Published, Statistic


@pytest.fixture
def published() -> Published:
    """Connections of `old` and `new` are given at one core, cycles of `old` at 1 and 4."""
    return Published(
        source="A. Author: A Title. A Place, 2000.",
        title="Old and new",
        axis=Axis("org.cores", "cores"),
        statistics={
            "connections_per_second": Statistic("Connections", "1/s", "linear", ["connections_per_second"]),
            "instructions": Statistic(
                "Instructions", "thousand", "constant", ["kilocycles_per_request"], ["stall_kilocycles_per_request"], 0.5
            ),
            "request_us.mean": Statistic("Time", "us", "constant", ["request_us.mean"]),
        },
        given=[
            Given("old", 1, "connections_per_second", 100.0, "scale"),
            Given("new", 1, "connections_per_second", 110.0),
            Given("old", 1, "instructions", 30.0, "factor"),
            Given("old", 4, "instructions", 20.0, "factor"),
        ],
        parameters={"scale": Free(["costs.cycles_scale"], 0.5, 4.0)},
    )
