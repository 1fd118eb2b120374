"""How the axes of benchmarks' figures look."""

from collections.abc import Sequence
from typing import Any


def label_values(axis: Any, values: Sequence[float]) -> None:
    """Label a logarithmic x axis at the values that were measured, and take the frame away above and on the right."""
    axis.set_xticks(values, [f"{value:g}" for value in values])
    axis.minorticks_off()
    axis.spines[["top", "right"]].set_visible(False)
