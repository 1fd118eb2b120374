"""What a sweep is in words: a table that MLflow takes, what is steady, and a view that its page reads."""

import json
from collections.abc import Callable
from pathlib import Path

from experiments.points.point import Outcome
from experiments.store.describe import LONGEST_NOTE, describe_point, describe_sweep
from netstack.sim import Result, SimulationConfig
from tests.helpers.outcomes import outcomes


def test_the_note_has_the_means_by_series_and_load(
    result: Result, composed: Callable[..., SimulationConfig], tmp_path: Path
) -> None:
    configs = [composed(f"org={org}", f"conns={conns}") for org in ("up", "connp_l") for conns in (6, 24)]
    made = outcomes(result, configs, tmp_path)  # 1,000, 1,037, 1,105, 1,192 Mb/s
    made.append(Outcome.of_error(made[0].point, ValueError("made up"), ""))
    for outcome, steady in zip(made, (True, True, False, True), strict=False):
        assert outcome.result is not None
        outcome.result.steady = steady
    found = describe_sweep(made, "python run.py -m x=1", [tmp_path / "goodput.png"], "1 % of goodput_mbps")
    assert found.note.split("\n\n")[:4] == [
        "    python run.py -m x=1",
        "| goodput_mbps (Mb/s) by conns | 6 | 24 |\n| --- | ---: | ---: |\n| up | 1,000 | 1,037 |\n| connp_l | 1,105 | 1,192 |",
        "4 points with 1 seeds; 3 of 4 are settled (not: connp_l at 6). 1 failed.",
        "Precision asked for: 1 % of goodput_mbps.",
    ]
    view = json.loads(found.view("abc"))
    assert view["searchFilter"] == "tags.`mlflow.parentRunId` = 'abc'"
    assert view["orderByKey"] == "metrics.`goodput_mbps`"
    assert {"params.`org.name`", "params.`conns`", "metrics.`goodput_mbps`"} <= set(view["selectedColumns"])
    assert describe_point(made[0]).startswith("1,000 Mb/s, ")


def test_the_note_of_many_points_is_short_enough(
    result: Result, composed: Callable[..., SimulationConfig], tmp_path: Path
) -> None:
    base = composed("org=up")
    configs = [SimulationConfig(**{**vars(base), "conns": conns}) for conns in range(1, 400)]
    found = describe_sweep(outcomes(result, configs, tmp_path), "c" * 6000, [])
    assert len(found.note) <= LONGEST_NOTE


def test_a_sweep_without_a_finished_point_says_so() -> None:
    assert describe_sweep([], "", []).note == "No point is finished."
