"""What all command lines share: exit codes, the terminal, the order of options for Hydra.

Knows no command.
"""

import re
from collections.abc import Callable, Sequence

from hydra._internal.utils import get_args_parser

from experiments.config.interrupts import INTERRUPTED, KEPT, interrupt_line, interruptible, open_standard_streams
from experiments.config.output import drop_broken_streams, replace_unknown_characters, say_error
from experiments.config.schema import MOST_WORKERS
from experiments.config.user_errors import InputError, UnfinishedError, describe
from netstack.errors import ConfigError
from netstack.installation import started_as

BAD_INPUT, FAILED_POINTS = 2, 1
"""Exit codes, beside that of an interrupt."""

PLACES = ("output_dir", "tracking.uri", "targets")
"""Keys of paths and addresses, which have characters that Hydra wants quoted, such as ``~`` and ``?``."""
WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd")
PRINTING = ("--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")
"""Options that make a command print something and do nothing else."""
WITH_OPTIONAL_VALUE = ("--info", "-i")


class UnknownOptionError(InputError):
    """An option that does not exist."""


def exit_code_of(action: Callable[[], object], arguments: Sequence[str], kept: str = KEPT) -> int:
    """Run a command and return its exit code. What went wrong is said in a line; an error that no user caused is raised.

    Args:
        action: What to run.
        arguments: What the user typed.
        kept: What an interrupt leaves.
    """
    open_standard_streams()
    replace_unknown_characters()
    line = interrupt_line(kept)
    try:
        with interruptible(line):
            action()
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, line)
    except UnfinishedError as error:
        return _fail(FAILED_POINTS, f"error: {error}")
    except Exception as error:
        if isinstance(error, BrokenPipeError) and drop_broken_streams():
            return 0  # whoever read the output has what it wanted
        message = describe(error, arguments)
        if message is None:
            raise
        return _fail(BAD_INPUT, f"error: {message}")
    return 0


def check_workers(workers: int) -> None:
    """Raise ConfigError when the option ``--workers`` has no number of workers."""
    if not 1 <= workers <= MOST_WORKERS:
        raise ConfigError("--workers", workers, f"must be from 1 to {MOST_WORKERS}")


def command() -> str:
    """Return how the command that runs points was started, as a user types it."""
    return started_as("python run.py")


def arguments_for_hydra(arguments: list[str]) -> list[str]:
    """Return what a user typed with options first. Hydra wants its overrides in one piece; ``--dry-run`` becomes a key.

    Raises:
        UnknownOptionError: Something begins with a dash and is no option.
    """
    options: list[str] = []
    overrides: list[str] = []
    previous = ""
    for argument in arguments:
        is_value = previous in WITH_VALUE or (previous in WITH_OPTIONAL_VALUE and "=" not in argument)
        if argument == "--dry-run":
            overrides.append("dry_run=true")
        elif is_value or argument.startswith("-"):
            options.append(argument)
        else:
            overrides.append(_quoted(argument))
        previous = argument
    if options and options[-1] in WITH_OPTIONAL_VALUE:
        options.append("all")  # or the first override would be taken for the value
    _, unknown = get_args_parser().parse_known_args([*options, *overrides])
    if unknown:
        raise UnknownOptionError(f"{unknown[0]}: unknown option; keys are given as key=value, options are in {command()} --help")
    return [*options, *overrides]


def _quoted(override: str) -> str:
    """Return an override of a path or an address as Hydra reads it; several, interpolated and quoted ones as they are."""
    key, _, value = override.partition("=")
    if key not in PLACES or re.search(r"[,$]|^['\"\[{]", value) or re.fullmatch(r"[\w/.:%+@-]*", value, re.ASCII):
        return override
    return "{}='{}'".format(key, re.sub(r"(\\*)'", r"\1\1\\'", value))


def _fail(code: int, line: str) -> int:
    say_error(line)
    return code
