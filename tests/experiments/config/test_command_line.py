"""Options may stand before, between and after overrides."""

import itertools

import pytest
from hydra._internal.utils import get_args_parser

from experiments.config.command_line import UnknownOptionError, arguments_for_hydra


@pytest.mark.parametrize("words", list(itertools.permutations([("-m",), ("org=up,msgp",), ("conns=6",), ("--cfg", "job")])))
def test_options_may_stand_anywhere(words: tuple[tuple[str, ...], ...]) -> None:
    arguments = [argument for word in words for argument in word]
    parsed = get_args_parser().parse_args(arguments_for_hydra(arguments))
    assert parsed.multirun
    assert parsed.cfg == "job"
    assert parsed.overrides == [argument for argument in arguments if "=" in argument]


@pytest.mark.parametrize("arguments", [["--info", "conns=6"], ["conns=6", "--info"], ["--info", "all", "conns=6"]])
def test_an_option_with_an_optional_value(arguments: list[str]) -> None:
    parsed = get_args_parser().parse_args(arguments_for_hydra(arguments))
    assert parsed.info == "all"
    assert parsed.overrides == ["conns=6"]


def test_a_dry_run_is_a_key() -> None:
    assert arguments_for_hydra(["--dry-run", "-m", "conns=6"]) == ["-m", "dry_run=true", "conns=6"]


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(UnknownOptionError, match="--workers: unknown option; keys are given as key=value"):
        arguments_for_hydra(["--workers", "4"])
