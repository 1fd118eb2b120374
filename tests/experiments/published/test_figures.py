"""Files of figures are whole, agree with their experiments, and say what is wrong with them in a line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from experiments.config.grids import ExperimentConfig
from experiments.published.comparison import experiment_places
from experiments.published.figures import DATA, MOST, Statistic, names, ordered, positions, read_published, shown
from netstack.errors import ConfigError
from netstack.sim import Result
from tests.helpers.folders import CONF

EXPERIMENTS = {
    path.stem: values
    for path in sorted((CONF / "experiment").glob("*.yaml"))
    if (values := yaml.safe_load(path.read_text())).get("report") == "published"
}


def test_every_published_experiment_has_figures_and_the_other_way_around() -> None:
    assert names() == sorted(EXPERIMENTS)
    assert len(names()) >= 2


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_is_given_is_simulated(name: str) -> None:
    published = read_published(name)
    values = EXPERIMENTS[name]
    experiment = ExperimentConfig(name, common=values["common"], grids=values.get("grids"), variants=values["variants"])
    places = experiment_places(experiment, published.axis.key)
    assert published.given
    for given in published.given:
        assert given.x in places[given.variant], given
    for name, free in published.parameters.items():
        (fitted_on,) = [given for given in published.given if given.fitted == name]
        assert set(free.variants) <= set(places)
        assert not free.variants or fitted_on.variant in free.variants, "a parameter must act on what it is fitted on"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_fitted_values_are_within_their_bounds_and_in_the_file(name: str) -> None:
    values = EXPERIMENTS[name]
    variants = {str(each["variant"]).strip("'"): each for each in values["variants"]}
    for free in read_published(name).parameters.values():
        places = [variants[variant] for variant in free.variants] or [values["common"]]
        for key in free.keys:
            assert all(free.low <= place[key] <= free.high for place in places)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_published_experiment_takes_its_constants_from_its_file_and_names_no_organization_in_them(name: str) -> None:
    """What is fitted for one variant only is said so: all other variants differ in choices, not in constants."""
    of_variants = {key for free in read_published(name).parameters.values() if free.variants for key in free.keys}
    for variant in EXPERIMENTS[name]["variants"]:
        constants = {key for key in variant if key.startswith(("costs.", "machine."))}
        assert constants <= of_variants


def test_a_statistic_is_a_sum_less_another_times_a_factor(make_result: Callable[..., Result]) -> None:
    result = make_result()
    result.kilocycles_per_request, result.stall_kilocycles_per_request = 25.0, 5.0
    result.request_us = {"mean": 80.0, "p99": 300.0}
    both = ["kilocycles_per_request", "stall_kilocycles_per_request"]
    assert Statistic("", "", "constant", both[:1], both[1:], 0.9).value(result) == pytest.approx(18.0)
    assert Statistic("", "", "constant", both).value(result) == 30.0
    assert Statistic("", "", "constant", ["request_us.p99"]).value(result) == 300.0


def test_places_are_in_order_and_the_most_is_a_step_beyond_the_last() -> None:
    assert ordered([4, MOST, 1, 2, 4]) == [1, 2, 4, MOST]
    assert positions([MOST, 200, 400, 1000]) == {200: 200.0, 400: 400.0, 1000: 1000.0, MOST: 1600.0}
    assert positions([MOST]) == {MOST: 1.0}
    assert [shown(1000000), shown(0.5), shown(2.0), shown(MOST)] == ["1,000,000", "0.5", "2", "max"]


BAD = {
    "statistic": ("statistic: kilocycles_per_request, value: 39.1", "statistic: cycles, value: 39.1", "allowed are requests_per"),
    "null model": ("unit: 1/s, null_model: linear", "unit: 1/s, null_model: quadratic", "allowed are linear and constant"),
    "result": ("of: [utilization]", "of: [busyness]", "busyness: is no statistic of a result"),
    "parameter": ("fitted: cycles of an interrupt", "fitted: cycles of a fish", "allowed are scale of all operations"),
    "place": ("x: 200000, statistic: busy_percent", "x: much, statistic: busy_percent", "must be a number, or max"),
    "bounds": ("low: 500, high: 40000", "low: 50000, high: 40000", "must be above 0 and below 40000"),
    "no number": ("value: 39.1", "value: many", "many"),
    "unknown key": ("title:", "headline: x\ntitle:", "headline"),
}


@pytest.mark.parametrize(("right", "wrong", "said"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_in_a_line(right: str, wrong: str, said: str, tmp_path: Path) -> None:
    text = (DATA / "irq_suspension.yaml").read_text()
    assert right in text
    (tmp_path / "bad.yaml").write_text(text.replace(right, wrong))
    with pytest.raises(ConfigError, match=said) as error:
        read_published("bad", tmp_path)
    assert "\n" not in str(error.value)


def test_an_experiment_without_figures_is_told_which_have_some() -> None:
    with pytest.raises(ConfigError, match=r"experiment\.name=dispatch: has no published figures; .*fastsocket"):
        read_published("dispatch")
