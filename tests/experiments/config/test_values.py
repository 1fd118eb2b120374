"""A configuration in its other forms."""

import json
from dataclasses import asdict

import pytest
import yaml

from experiments.config.values import (
    FlatValues,
    config_json,
    config_text,
    flat_values,
    flattened,
    is_number,
    number,
    plain_values,
    varied_keys,
)
from netstack.sim import SimulationConfig


def test_all_forms_hold_the_same_values() -> None:
    config = SimulationConfig(conns=6)
    assert plain_values(config) == asdict(config) == yaml.safe_load(config_text(config))
    assert flat_values(config) == flattened(asdict(config))
    assert flat_values(config)["conns"] == 6
    assert len(flat_values(config)) == len(flattened(asdict(config)))
    assert config_json(config) == json.dumps(asdict(config), sort_keys=True)


def test_sections_are_not_confused_when_they_are_dropped() -> None:
    """A section that is gone may leave its address to another one."""
    for cores in range(1, 50):
        config = SimulationConfig()
        config.machine.cores = cores
        assert flat_values(config)["machine.cores"] == cores


def test_lists_are_kept() -> None:
    assert flattened({"a": {"b": 1, "c": {"d": [2, 3]}}, "e": None}) == {"a.b": 1, "a.c.d": [2, 3], "e": None}


def test_varied_keys_come_in_the_order_in_which_they_first_differ() -> None:
    flat = [
        FlatValues({"a": {"a.x": 1, "a.y": 1}, "b": {"b": 1}}),
        FlatValues({"a": {"a.x": 1, "a.y": 2}, "b": {"b": 1}}),
        FlatValues({"a": {"a.x": 2, "a.y": 2}, "b": {"b": 3}, "c": {"c": 1}}),
    ]
    assert varied_keys(flat) == ["a.y", "a.x", "b", "c"]
    assert varied_keys(flat, "a") == ["a.y", "a.x"]
    assert varied_keys(flat[:1]) == []


@pytest.mark.parametrize(("value", "expected"), [(1, True), (1.5, True), (True, False), ("1", False), (None, False)])
def test_what_is_a_number(value: object, expected: bool) -> None:
    assert is_number(value) is expected


@pytest.mark.parametrize(("value", "text"), [(2500.0, "2500"), (0.5, "0.5"), (16384, "16384"), (None, "null"), ("free", "free")])
def test_a_value_as_a_user_writes_it(value: object, text: str) -> None:
    assert number(value) == text
