"""What all command lines share, and that of Hydra before it is read: there options may stand anywhere.

``--dry-run`` becomes the key ``dry_run``.
"""

import sys

from hydra._internal.utils import get_args_parser
from rich.console import Console

BAD_INPUT, FAILED_POINTS, INTERRUPTED = 2, 1, 130
"""Exit codes."""
PLAIN_WIDTH = 140  # of output that is not a terminal

WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd")
WITH_OPTIONAL_VALUE = ("--info", "-i")


class UnknownOptionError(ValueError):
    """An option that does not exist; the message is one line."""


def terminal() -> Console:
    """Return the console of a command: as wide as the terminal, or wide enough for tables in a file."""
    return Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)


def arguments_for_hydra(arguments: list[str]) -> list[str]:
    """Return what a user typed with options first: Hydra wants its overrides in one piece.

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
            overrides.append(argument)
        previous = argument
    if options and options[-1] in WITH_OPTIONAL_VALUE:
        options.append("all")  # or the first override would be taken for the value
    _, unknown = get_args_parser().parse_known_args([*options, *overrides])
    if unknown:
        raise UnknownOptionError(f"{unknown[0]}: unknown option; keys are given as key=value, options are in run.py --help")
    return [*options, *overrides]
