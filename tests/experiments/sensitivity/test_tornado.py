"""Tornado figures of an analysis made by hand."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from matplotlib.patches import Rectangle

from experiments.sensitivity.analysis import Sensitivity
from experiments.sensitivity.tornado import LONGEST, draw_tornados, tornado_figure


@pytest.mark.parametrize("name", ["made up", "number", "wrong"])
def test_a_tornado(name: str, sensitivity: Sensitivity) -> None:
    figure = tornado_figure(sensitivity, name)
    (axes,) = figure.axes
    claim = sensitivity.claim(name)
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    bars = [(box.get_x(), box.get_x() + box.get_width()) for box in boxes if 0 < box.get_height() < 0.9]
    assert len(bars) == 2 * LONGEST
    assert next(label.get_text() for label in axes.get_yticklabels()) == "locks"
    lowered = next(e.judgement.value for e in claim.effects if e.parameter == "locks" and not e.raised)
    assert bars[0] == pytest.approx((claim.before.value, lowered))
    assert "6 others move it less" in axes.get_xlabel()
    left, right = axes.get_xlim()
    assert left <= claim.low <= right
    plt.close(figure)


def test_a_figure_per_claim_in_two_formats(sensitivity: Sensitivity, tmp_path: Path) -> None:
    files = draw_tornados(tmp_path, sensitivity)
    assert sorted(files) == sorted(tmp_path.iterdir())
    assert {path.stem for path in files} == {claim.slug for claim in sensitivity.claims}
    assert [path.suffix for path in files] == [".svg", ".png"] * len(sensitivity.claims)
