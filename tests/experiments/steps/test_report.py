"""What each choice changes beside its neighbour, from results made by hand."""

import copy
import csv
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from experiments.config.grids import ExperimentConfig
from experiments.points.names import name_points
from experiments.points.point import Outcome, Point
from experiments.steps import figure
from experiments.steps.figure import panel, steps_figure
from experiments.steps.pairs import Step, check_steps, steps_of
from experiments.steps.quantities import OF_REQUESTS, OF_STREAMS, Quantity, quantities_of
from experiments.steps.report import headline, sentence, table, write_steps
from netstack.errors import ConfigError
from netstack.sim import Result, SimulationConfig
from tests.helpers.figures import readable_texts

Compose = Callable[..., SimulationConfig]
EXPERIMENT = ExperimentConfig(
    name="mine",
    title="Mine",
    report="steps",
    variants=[
        {"variant": "plain"},
        {"variant": "in turn", "beside": "plain"},
        {"variant": "'polled, twice'", "beside": "in turn"},
        {"variant": "other", "beside": "plain"},
    ],
)
CHANGED = {"plain": {}, "in turn": {"accept": "any"}, "polled, twice": {"accept": "any", "batch": 2}, "other": {"balance": ["x"]}}
"""Choices of the organization by variant."""
RATES = {"plain": (1000.0, 2000.0), "in turn": (1100.0, 2600.0), "polled, twice": (550.0, 1300.0), "other": (1010.0, 1980.0)}
"""Requests per second by seed without a rate; at a rate of 100 every variant has 100."""
QUANTITY = {quantity.name: quantity for quantity in OF_REQUESTS}


def served(make_result, requests: float, p99_us: float) -> Result:
    """Of a request two segments and 4 KB; of a segment half a switch and a tenth of an IPI; 8,000 interrupts per second."""
    result = make_result(requests * 4 * 1024 * 8 / 1e6, misses=5.0)
    result.requests_per_second, result.kilocycles_per_request, result.simulated_ms = requests, 30.0, 10.0
    result.request_us = result.request_us | {"p50": 20.0, "p99": p99_us}
    result.data_segments = round(requests * 2 / 100)
    return result


@pytest.fixture
def made(composed: Compose, make_result, tmp_path: Path) -> list[Outcome]:
    """Return outcomes of four variants with two seeds, without a rate and at one of 100; the 99th percentile rises by variant."""
    configs, variants, results = [], [], []
    for place, (variant, rates) in enumerate(RATES.items()):
        base = composed("workload=request_response", "conns=6")
        base.org = copy.copy(base.org)
        for name, value in CHANGED[variant].items():
            setattr(base.org, name, value)
        for rate in (100.0, None):
            for seed, requests in enumerate(rates):
                config = copy.copy(base)
                config.seed, config.workload = seed, copy.copy(base.workload)
                config.workload.requests = copy.copy(base.workload.requests)
                config.workload.requests.rate_per_second = rate
                configs.append(config)
                variants.append(variant)
                results.append(served(make_result, rate or requests, 100.0 + 10 * place))
    points = [Point(config, name, tmp_path) for config, name in zip(configs, name_points(configs, variants), strict=True)]
    return [Outcome(point, result) for point, result in zip(points, results, strict=True)]


def found(steps: list[Step], variant: str, load: str = "rate_per_second=null") -> Step:
    (one,) = [step for step in steps if (step.variant, step.load) == (variant, load)]
    return one


def test_steps_are_neighbours_with_the_choices_that_differ(made: list[Outcome]) -> None:
    steps = steps_of(made, EXPERIMENT)
    assert [(step.load, step.variant, step.beside) for step in steps] == [
        (load, variant, beside)
        for load in ("rate_per_second=100", "rate_per_second=null")
        for variant, beside in (("in turn", "plain"), ("polled, twice", "in turn"), ("other", "plain"))
    ]
    assert found(steps, "in turn").choices == ["accept: client → any"]
    assert found(steps, "polled, twice").choices == ["batch: 1 → 2"]
    assert found(steps, "other").choices == ["balance: [] → [x]"]


def test_changes_are_means_over_the_changes_of_seeds(made: list[Outcome]) -> None:
    """Changes of 10 and 30 %: Student's t for 1 degree of freedom x 14.142 / sqrt(2)."""
    change = found(steps_of(made, EXPERIMENT), "in turn").change(QUANTITY["requests_per_second"])
    assert (change.before, change.after) == (1500, 1850)
    assert change.change == pytest.approx(20)
    assert change.half_width == pytest.approx(12.706 * 10)
    assert not change.is_certain
    halved = found(steps_of(made, EXPERIMENT), "polled, twice").change(QUANTITY["requests_per_second"])
    assert (halved.change, halved.half_width) == pytest.approx((-50, 0))
    assert halved.is_certain


def test_counts_are_of_a_request(make_result) -> None:
    """5 misses/KB x 4 KB; of a request two segments, with half a switch and a tenth of an IPI each; 8,000 interrupts/s."""
    result = served(make_result, 2000.0, 100.0)
    values = {name: quantity.value(result) for name, quantity in QUANTITY.items()}
    expected = {"requests_per_second": 2000, "p50_us": 20, "p99_us": 100, "kilocycles": 30}
    assert values == pytest.approx(expected | {"l2_misses": 20, "interrupts": 4, "ipis": 0.2, "switches": 1})


def test_without_requests_counts_are_of_a_kb(make_result) -> None:
    """8.192 Mb/s are 1,000 KB/s."""
    result = make_result(8.192, misses=5.0, protocol=700.0, copy=300.0)
    assert quantities_of([result]) is OF_STREAMS
    values = {quantity.name: quantity.value(result) for quantity in OF_STREAMS}
    assert values["cycles"] == 1000  # idle ones are none
    assert (values["l2_misses"], values["interrupts"], values["switches"]) == pytest.approx((5, 8, 0.5))


def test_a_count_may_begin_at_nothing_and_a_percentage_may_not(make_result) -> None:
    none, some = make_result(1.0), make_result(2.0)
    some.ipis_per_segment, none.ipis_per_segment = 0.25, 0.0
    ipis = next(quantity for quantity in OF_STREAMS if quantity.name == "ipis")
    assert ipis.change(none, some) == 0.25
    goodput = OF_STREAMS[0]
    none.goodput_mbps = 0.0
    assert goodput.change(none, some) is None
    change = Step("b", "a", "", [], [none, some], [some, some]).change(goodput)
    assert (change.change, change.half_width) == (None, None)


def test_only_seeds_that_both_have_are_compared(made: list[Outcome]) -> None:
    lost = [one for one in made if one.point.name.variant == "plain" and one.point.config.seed == 0]
    assert len(lost) == 2
    outcomes = [Outcome(one.point, None, "lost") if one in lost else one for one in made]
    change = found(steps_of(outcomes, EXPERIMENT), "in turn").change(QUANTITY["requests_per_second"])
    assert (change.before, change.after, change.change, change.half_width) == (2000, 2600, pytest.approx(30), None)
    assert not change.is_certain


def test_sentences_name_what_is_certain(made: list[Outcome]) -> None:
    """The 99th percentile rises by 10 us of 100 in both seeds; requests change by 10 and by 30 %."""
    steps = steps_of(made, EXPERIMENT)
    step = found(steps, "in turn")
    assert sentence(step, [QUANTITY["p99_us"], QUANTITY["requests_per_second"]]) == (
        "in turn, beside plain, at rate_per_second=null: 99th percentile +10.0 %."
    )
    assert sentence(step, [QUANTITY["p50_us"]]).endswith(": nothing beyond chance.")
    assert headline(steps, QUANTITY["requests_per_second"]) == (
        "1 of 6 steps change requests per second beyond chance, most polled, twice at rate_per_second=null: −50.0 %."
    )


def test_the_table_has_before_and_after_and_the_change(made: list[Outcome]) -> None:
    made_table = table(steps_of(made, EXPERIMENT), "rate_per_second=null", [QUANTITY["requests_per_second"], QUANTITY["ipis"]])
    assert list(made_table.headings) == ["variant", "beside", "requests per second, 1/s", "IPIs per request"]
    assert list(made_table.rows[0]) == ["in turn", "plain", "1,500 → 1,850 (+20.0 ± 1.3e+02 %)", "0.2 → 0.2 (0 ± 0)"]
    assert list(made_table.rows[1])[:3] == ["polled, twice", "in turn", "1,850 → 925 (−50.0 ± 0 %)"]


def test_files_have_the_values_the_figure_and_the_command(made: list[Outcome], tmp_path: Path) -> None:
    for outcome in made:
        assert outcome.result is not None
        outcome.point.save(outcome.result)
    files = write_steps(tmp_path, made, EXPERIMENT, "python run.py -m experiment=mine")
    assert [path.name for path in files] == ["report.html", "steps.png", "steps.csv"]
    page = files[0].read_text()
    assert "python run.py -m experiment=mine" in page
    assert "accept: client → any" in page
    with files[2].open(newline="") as file:
        rows = {(row["variant"], row["load"], row["quantity"]): row for row in csv.DictReader(file)}
    assert len(rows) == 3 * 2 * len(OF_REQUESTS)
    row = rows["in turn", "rate_per_second=null", "requests_per_second"]
    assert (row["beside"], row["choices"], row["seeds"]) == ("plain", "accept: client → any", "2")
    assert float(row["change"]) == pytest.approx(20)
    assert float(row["half_width"]) == pytest.approx(127.06)


def test_the_figure_has_a_panel_a_quantity_and_a_mark_a_step(made: list[Outcome], monkeypatch) -> None:
    steps = steps_of(made, EXPERIMENT)
    drawn = steps_figure(steps, OF_REQUESTS)
    texts = readable_texts(drawn, figure.DPI, monkeypatch)
    assert {"requests per second, %", "IPIs per request", "in turn\nbeside: plain", "rate_per_second=100"} <= texts
    marks = {bars.get_label(): [round(float(x), 6) for x in bars[0].get_xdata()] for bars in drawn.axes[0].containers}
    assert marks == {"rate_per_second=100": [0, 0, 0], "rate_per_second=null": [20, -50, 0]}
    plt.close(drawn)
    assert panel(steps, QUANTITY["requests_per_second"]).count('class="mark ') == 6


@pytest.mark.parametrize("quantity", OF_REQUESTS, ids=lambda quantity: quantity.name)
def test_all_marks_of_a_panel_are_between_its_ticks(made: list[Outcome], quantity: Quantity) -> None:
    steps = steps_of(made, EXPERIMENT)
    ticks = figure._ticks(steps, quantity)
    changes = [change for step in steps if (change := step.change(quantity).change) is not None]
    assert 0 in ticks
    assert len(ticks) >= 2
    assert ticks[0] <= min(changes)
    assert max(changes) <= ticks[-1]


def test_points_that_no_step_needs_are_refused(made: list[Outcome]) -> None:
    points = [outcome.point for outcome in made]
    check_steps(points, EXPERIMENT)
    alone = [point for point in points if point.name.variant != "plain" and point.name.variant != "in turn"]
    with pytest.raises(ConfigError, match="variant=polled, twice,other: must be two"):
        check_steps(alone, EXPERIMENT)
    with pytest.raises(ConfigError, match="two points are plain rate_per_second=100 0"):
        check_steps([*points, points[0]], EXPERIMENT)
