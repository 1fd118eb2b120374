"""An analysis made by hand, and a file that asks for a small one."""

import dataclasses
from pathlib import Path

import pytest

from experiments.paper.grid import CONNP_L, MSGP, UP
from experiments.paper.quantities import goodput
from experiments.paper.verdicts import Greater
from experiments.sensitivity.analysis import Sensitivity, sensitivity_of
from tests.helpers.sensitivity import NUMBER, ORDER, SMALL, MakeResult, claim_of, points_of


@pytest.fixture
def specification(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def sensitivity(make_result: MakeResult) -> Sensitivity:
    """Costs that move msgp from above up to below it when raised, others that do nothing, and claims that see it or not."""
    before = points_of(make_result, {UP: (4000, 4010), MSGP: (4100, 4120), CONNP_L: (5000, 5010)})
    worse = points_of(make_result, {UP: (3900, 3910), MSGP: (3700, 3720), CONNP_L: (4800, 4810)})
    better = points_of(make_result, {UP: (4100, 4110), MSGP: (4500, 4520), CONNP_L: (5200, 5210)})
    after = {("locks", True): worse, ("locks", False): better}
    after |= {(f"idle_{number}", raised): before for number in range(20) for raised in (False, True)}
    reversed_order = dataclasses.replace(claim_of(Greater(goodput(UP, 6), goodput(CONNP_L, 6))), name="wrong")
    firm = dataclasses.replace(claim_of(Greater(goodput(CONNP_L, 6), goodput(UP, 6))), name="firm")
    claims = (ORDER, dataclasses.replace(NUMBER, name="number"), reversed_order, firm)
    parameters = {name: ["some.key"] for name, _ in after}
    made = tuple(sensitivity_of(claim, claim, before, after) for claim in claims)
    return Sensitivity(20, (1, 2), 99, parameters, {"model.version": "0"}, made)
