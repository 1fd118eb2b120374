"""Figures of sweeps, from made-up results."""

import copy
import functools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.points.seeds import Repetitions, repetitions
from experiments.present import figures
from netstack.sim import Result, SimulationConfig
from tests.helpers.figures import readable_texts
from tests.helpers.outcomes import outcomes

SHAPES = {
    "twelve points": [{"org.name": org, "conns": n} for org in ("up", "msgp", "connp_t", "connp_l") for n in (6, 192, 16384)],
    "one organization": [{"conns": n} for n in (6, 24, 192, 1536)],
    "one point": [{"conns": 6}],
    "groups and seeds": [
        {"org.groups": groups, "conns": n, "seed": seed} for groups in (4, 16, 128) for n in (6, 192) for seed in (1, 2, 3)
    ],
    "lock profiling": [
        {"org.groups": groups, "conns": n, "costs.lock_profiling": profiled}
        for groups in (4, 128)
        for n in (6, 192)
        for profiled in (False, True)
    ],
    "many points": [{"org.groups": 2**n, "conns": 2**m} for n in range(9) for m in range(7)],
    "cores of two machines": [
        {"machine.name": machine, "machine.cores": cores} for machine in ("epyc_16", "opteron_2x2") for cores in (1, 2, 4)
    ],
}


def varied(config: SimulationConfig, values: dict[str, object]) -> SimulationConfig:
    config = copy.deepcopy(config)
    for key, value in values.items():
        *parts, name = key.split(".")
        setattr(functools.reduce(getattr, parts, config), name, value)
    return config


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["_goodput", "_cycles", "_misses_and_lock_waits"])
def test_no_text_of_a_figure_overlaps_another_or_leaves_it(
    kind: str, shape: str, result: Result, composed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = composed()
    repeated = repetitions(outcomes(result, [varied(base, values) for values in SHAPES[shape]], tmp_path))
    figure: Figure = getattr(figures, kind)(repeated)
    texts = readable_texts(figure, figures.DPI, monkeypatch)
    assert set(_series(repeated)) <= {text.replace("\n", " ") for text in texts}
    plt.close(figure)


def test_of_a_kernel_with_lock_profiling_only_the_waits_are_drawn(result: Result, composed, tmp_path: Path, monkeypatch) -> None:
    made: dict[str, Figure] = {}
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: made.update({path.stem: figure}))
    base = composed()
    both = [varied(base, values) for values in SHAPES["lock profiling"]]
    figures.draw_figures(tmp_path, outcomes(result, both, tmp_path))
    series = {"connp_l(4)", "connp_l(128)"}
    goodput, cycles = made["goodput"].axes[0], made["cycles_per_kb"].axes[0]
    misses, waits = made["misses_and_lock_waits"].axes
    assert set(goodput.get_legend_handles_labels()[1]) == series
    bars = [np.asarray(bar.vertices) for color in cycles.collections for bar in color.get_paths()]
    assert len({round(bar[:, 0].min(), 3) for bar in bars}) == 4
    assert set(misses.get_legend_handles_labels()[1]) == series
    assert set(waits.get_legend_handles_labels()[1]) == series | {f"{name} with lock profiling" for name in series}
    made.clear()
    figures.draw_figures(tmp_path, outcomes(result, [config for config in both if config.costs.lock_profiling], tmp_path))
    assert set(made) == {"misses_and_lock_waits"}


def test_bars_lie_on_each_other_and_are_as_high_as_their_cycles(result: Result, composed, tmp_path: Path) -> None:
    base = composed()
    (found,) = repetitions(outcomes(result, [base], tmp_path))
    figure = figures._cycles([found])
    low = 0.0
    for color, (category, height) in zip(figure.axes[0].collections, result.cycles_per_kb.items(), strict=True):
        assert color.get_label() == category.replace("_", " ")
        (bar,) = (np.asarray(path.vertices) for path in color.get_paths())
        assert (bar[:, 1].min(), bar[:, 1].max()) == pytest.approx((low, low + height))
        low += height
        left, right = figure.axes[0].get_xlim()
        assert left < bar[:, 0].min() < bar[:, 0].max() < right
    plt.close(figure)


def _series(repeated: list[Repetitions]) -> list[str]:
    return [each.point.name.series for each in repeated]
