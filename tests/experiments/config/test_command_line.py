"""Options may stand before, between and after overrides; what goes wrong is an exit code and a line."""

import itertools
from collections.abc import Callable

import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments.config.command_line import (
    BAD_INPUT,
    FAILED_POINTS,
    UnknownOptionError,
    arguments_for_hydra,
    exit_code_of,
)
from experiments.config.interrupts import INTERRUPTED
from experiments.config.user_errors import InputError, UnfinishedError
from netstack.errors import ConfigError, ConservationError


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


@pytest.mark.parametrize("path", ["~/a", "/tmp/a?b", "/tmp/a#b c", "a%2Fb", "é", "it's", "a\\'b", "plain/a.b-c_d"])
def test_a_path_is_what_was_typed(path: str) -> None:
    (override,) = arguments_for_hydra([f"output_dir={path}"])
    assert OverridesParser.create().parse_override(override).value() == path


@pytest.mark.parametrize("override", ["output_dir=a,b", "output_dir='~/a'", "output_dir=${oc.env:HOME}/a", "org=~up"])
def test_lists_quoted_and_other_values_are_left(override: str) -> None:
    assert arguments_for_hydra([override]) == [override]


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(UnknownOptionError, match="--workers: unknown option; keys are given as key=value"):
        arguments_for_hydra(["--workers", "4"])


def raising(error: BaseException) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), INTERRUPTED, "interrupted: finished points are kept, the same command runs the rest"),
        (UnfinishedError("a point failed"), FAILED_POINTS, "error: a point failed"),
        (ConfigError("conns", 0, "must be more"), BAD_INPUT, "error: conns=0: must be more"),
        (InputError("no such thing"), BAD_INPUT, "error: no such thing"),
    ],
)
def test_what_goes_wrong_is_an_exit_code_and_a_line(error: BaseException, code: int, line: str, capsys) -> None:
    assert exit_code_of(raising(error), []) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"{line}\n")


def test_an_error_of_ours_is_raised() -> None:
    with pytest.raises(ConservationError):
        exit_code_of(raising(ConservationError("cycles are missing")), [])


def test_a_command_says_what_an_interrupt_leaves(capsys) -> None:
    assert exit_code_of(lambda: None, []) == 0
    assert exit_code_of(raising(KeyboardInterrupt()), [], kept="nothing was written") == INTERRUPTED
    assert capsys.readouterr().err == "interrupted: nothing was written\n"
