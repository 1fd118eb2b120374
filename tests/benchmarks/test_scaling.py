"""What the scaling benchmark computes from what it measured."""

import pytest
from rich.console import Console

from benchmarks.scaling import Row, exponent, paper_points, print_cluster


def test_an_exponent_is_that_of_the_largest() -> None:
    rows = [Row(value, value**1.5, 100 + value, 0) for value in (1.0, 10.0, 100.0, 1000.0)]
    rows[0] = Row(1, 50, 100, 0)  # a start that costs more than the work
    assert exponent(rows, "seconds") == pytest.approx(1.5)


def test_the_experiment_of_the_publication_has_73_points_a_seed() -> None:
    """365 points with five seeds, and 90 with fifteen more of six of them, says its file."""
    assert len(set(paper_points())) == 73


def test_a_cluster_is_as_fast_as_its_cores_or_its_driver() -> None:
    """10 points of 36 s on average: 1,000 seeds are 100 hours, 6 minutes on 1,000 cores, and 1 more for the last point."""
    console = Console(record=True, width=160)
    print_cluster({"points": 10, "seconds": 360.0, "longest": 60.0, "needed_bytes": 3 * 2**20}, 12.0, console)
    text = console.export_text()
    assert "10,000 points, 100 hours" in text
    assert "7.0 minutes" in text
    assert "2.0 minutes; it keeps 3,000 cores busy" in text
    assert "3 MiB a core" in text
