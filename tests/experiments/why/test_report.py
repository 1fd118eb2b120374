"""What a page says of points whose values are made by hand."""

import copy
import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.config.grids import ExperimentConfig
from experiments.config.subsets import subset_name, subsets
from experiments.points.names import name_points
from experiments.points.point import Outcome, Point
from experiments.why.cases import Objective, cases_of, check_cases
from experiments.why.findings import disagreements, pair_sentence, sentence
from experiments.why.report import write_why
from experiments.why.waterfall import rows_of
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig

Compose = Callable[..., SimulationConfig]
PLAYERS = ("locks", "scheduling", "copies")
GAINS = {"locks": 900.0, "scheduling": 300.0, "copies": 0.0}
EXPERIMENT = ExperimentConfig(name="why", title="Why", report="why", mechanisms=[*PLAYERS])
CYCLES = {"lock_spin": 1000.0, "scheduling": 4000.0, "protocol": 14900.0}
"""With 100 idle ones 20,000 per KB: the locks' are 5 %, those of scheduling 20 %."""


@pytest.fixture
def made(composed: Compose, make_result, tmp_path: Path) -> Callable[..., list[Outcome]]:
    """Return a function that makes the outcomes of two loads; the second has half the goodput. A seed adds what it is."""

    def make(value: Callable[[frozenset[str]], float] = lambda free: 2000 + sum(GAINS[name] for name in free), seeds: int = 1):
        base = composed("org=msgp")
        configs, variants, results = [], [], []
        for subset in subsets(PLAYERS):
            for conns, share in ((6, 1.0), (48, 0.5)):
                for seed in range(1, seeds + 1):
                    config = copy.copy(base)
                    config.conns, config.seed, config.ideal = conns, seed, list(subset)
                    configs.append(config)
                    variants.append(subset_name(subset, PLAYERS))
                    results.append(make_result(value(frozenset(subset)) * share + (seed - 1) * 10 * len(subset), **CYCLES))
        names = name_points(configs, variants)
        points = [Point(config, name, tmp_path) for config, name in zip(configs, names, strict=True)]
        return [Outcome(point, result) for point, result in zip(points, results, strict=True)]

    return make


def test_a_case_is_a_point_with_all_that_is_free_in_it(made) -> None:
    first, second = cases_of(made(), EXPERIMENT)
    assert (first.label, second.label) == ("msgp at 6", "msgp at 48")
    assert (first.base, first.whole) == (2000, 1200)
    assert first.shares() == pytest.approx(GAINS)
    assert second.shares() == pytest.approx({name: gain / 2 for name, gain in GAINS.items()})
    assert rows_of(first) == [
        ("as it is", 0, 2000),
        ("locks", 2000, 2900),
        ("scheduling", 2900, 3200),
        ("copies", 3200, 3200),
        ("all free", 0, 3200),
    ]


def test_seeds_are_put_together_with_an_interval(made) -> None:
    """Each seed adds 0, 10 and 20 to each share: Student's t for 2 degrees of freedom x 10 / sqrt(3)."""
    first, _ = cases_of(made(seeds=3), EXPERIMENT)
    assert first.shares()["locks"] == pytest.approx(910)
    assert first.half_width("locks") == pytest.approx(4.303 * 10 / 3**0.5)
    assert sentence(first).startswith("msgp at 6 pays 910 ± 24.8 Mb/s for waits for locks, 310 ± 24.8 for scheduling.")


def test_a_case_without_a_point_of_its_own_is_left_out(made) -> None:
    outcomes = [outcome for outcome in made() if outcome.point.label != "msgp free copies conns=6"]
    assert [case.label for case in cases_of(outcomes, EXPERIMENT)] == ["msgp at 48"]


def test_a_sentence_names_what_is_dear(made) -> None:
    first, _ = cases_of(made(), EXPERIMENT)
    assert sentence(first) == (
        "msgp at 6 pays 900 Mb/s for waits for locks, 300 for scheduling. It has 2,000 Mb/s, and 3,200 Mb/s if all are free."
    )
    nothing, _ = cases_of(made(lambda free: 5649.0), EXPERIMENT)
    assert sentence(nothing).endswith("5,649 Mb/s if all are free, where the links are full.")


def test_counted_cycles_and_free_mechanisms_disagree(made) -> None:
    """5 % of the cycles say 2,000 x 5 / 95 = 105 Mb/s of locks, 20 % say 500 of scheduling."""
    first, _ = cases_of(made(), EXPERIMENT)
    locks, scheduling = disagreements(first)
    assert (locks.mechanisms, locks.hidden, locks.measured) == (("locks",), True, 900)
    assert locks.counted == pytest.approx(2000 * 5 / 95)
    assert (scheduling.mechanisms, scheduling.hidden, scheduling.measured) == (("scheduling",), False, 300)
    assert scheduling.counted == pytest.approx(500)
    agreed = {"locks": 105.0, "scheduling": 500.0, "copies": 0.0}
    first, _ = cases_of(made(lambda free: 2000 + sum(agreed[name] for name in free)), EXPERIMENT)
    assert disagreements(first) == []


def test_mechanisms_that_hide_each_other_are_named(made) -> None:
    both = {"locks", "scheduling"}
    first, _ = cases_of(made(lambda free: 2000 + 500 * (free >= both)), EXPERIMENT)
    assert pair_sentence(first) == "msgp at 6: locks free gains 0, scheduling 0, both 500 Mb/s; one hides what the other costs."
    first, _ = cases_of(made(lambda free: 2000 + 500 * bool(free & both)), EXPERIMENT)
    assert pair_sentence(first) == (
        "msgp at 6: locks free gains 500, scheduling 500, both 500 Mb/s; they are the same time, counted twice."
    )
    first, _ = cases_of(made(lambda free: 2000 + 3600 * bool(free & both)), EXPERIMENT)
    assert str(pair_sentence(first)).endswith("both 3,600 Mb/s; the links are full.")
    first, _ = cases_of(made(), EXPERIMENT)
    assert pair_sentence(first) is None


def test_page_figure_and_values_are_written(made, tmp_path: Path) -> None:
    outcomes = made()
    for outcome in outcomes:
        assert outcome.result is not None
        outcome.point.save(outcome.result)
    files = write_why(tmp_path, outcomes, EXPERIMENT, "run again")
    assert [path.name for path in files] == ["report.html", "why.png", "why.csv", "why_sets.csv"]
    page = files[0].read_text()
    assert "msgp at 6 pays 900" in page
    assert "all 8 sets" in page
    assert not re.search(r'(?:src|href)="(?!#)', page)  # nothing outside
    assert page.count("<svg") == 2
    rows = list(csv.DictReader(files[2].open()))
    assert [(row["mechanism"], float(row["share"])) for row in rows[:3]] == [
        ("locks", pytest.approx(900)),
        ("scheduling", pytest.approx(300)),
        ("copies", pytest.approx(0)),
    ]
    sets = {(row["point"], row["set"]): float(row["value"]) for row in csv.DictReader(files[3].open())}
    assert len(sets) == 16
    assert sets["msgp at 6", "free locks+scheduling"] == 3200
    assert write_why(tmp_path, [], EXPERIMENT, "") == []


@pytest.mark.parametrize(
    ("overrides", "metric", "unit", "less"),
    [
        (("workload=bulk_send",), "goodput_mbps", "Mb/s", False),
        (("workload=bulk_receive",), "goodput_mbps", "Mb/s", False),
        (("workload=churn",), "connections_per_second", "1/s", False),
        (("workload=request_response",), "requests_per_second", "1/s", False),
        (("workload=request_response", "workload.requests.rate_per_second=1000"), "request_us/p99", "us", True),
        (("workload=proxy_short", "org=linux", "costs=linux26"), "requests_per_second", "1/s", False),
    ],
)
def test_a_workload_has_its_objective(composed: Compose, overrides, metric: str, unit: str, less: bool) -> None:
    found = Objective.of(composed(*overrides), None)
    assert (found.metric, found.unit, found.less) == (metric, unit, less)


def test_an_objective_may_be_given(composed: Compose, make_result) -> None:
    found = Objective.of(composed(), "-l2_misses_per_kb")
    assert (found.label, found.unit) == ("l2 misses per kb", "1/KB")
    assert found.value(make_result(misses=3.0)) == -3
    with pytest.raises(ConfigError, match="is no metric"):
        Objective.of(composed(), "goodput").value(make_result())


def test_points_that_are_compared_with_nothing_are_refused(made) -> None:
    points = [outcome.point for outcome in made()]
    check_cases(points, EXPERIMENT)
    with pytest.raises(ConfigError, match="must be left to the experiment"):
        check_cases([point for point in points if point.config.ideal], EXPERIMENT)
    with pytest.raises(ConfigError, match="two are msgp unchanged conns=6"):
        check_cases([points[0], *points], EXPERIMENT)
    with pytest.raises(ConfigError, match="is no statistic"):
        check_cases(points, ExperimentConfig(name="why", report="why", objective="-goodput"))


def test_the_experiment_makes_its_variants() -> None:
    combined = ExperimentConfig(name="why", report="why", grids=[{"conns": 6}], mechanisms=["copies", "locks"]).combined()
    assert [(values["variant"], values["ideal"]) for values in combined] == [
        ("unchanged", "[]"),
        ("free locks", "[locks]"),
        ("free copies", "[copies]"),
        ("all free", "[locks,copies]"),
    ]


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"report": "why", "variants": [{"variant": "x"}]}, "variants"),
        ({"report": "why", "mechanisms": ["locks"]}, "mechanisms"),
        ({"report": "why", "mechanisms": ["locks", "lock"]}, "mechanisms"),
        ({"report": "why", "permutations": 1}, "permutations"),
        ({"report": "paper", "permutations": 5}, "permutations"),
        ({"objective": "goodput_mbps"}, "objective"),
    ],
)
def test_a_wrong_experiment_is_refused(values: dict, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig(name="x", **values).validate()
    assert caught.value.key == f"experiment.{key}"


def test_a_point_that_pays_for_nothing_is_not_counted_to_what_the_points_pay_most_for(made, tmp_path: Path) -> None:
    """With 48 connections all sets come to the same but for a chance of 1 Mb/s, which is no cost of any mechanism."""
    outcomes = made()
    for outcome in outcomes:
        assert outcome.result is not None
        if outcome.point.config.conns == 48:
            outcome.result.goodput_mbps = 5649 + ("copies" in outcome.point.config.ideal)
        outcome.point.save(outcome.result)
    (page, *_) = write_why(tmp_path, outcomes, EXPERIMENT, "command")
    text = re.sub(r"<[^>]+>", "", page.read_text())
    assert "What 2 points pay most for: waits for locks (1), nothing to speak of (1)." in text
