"""The door of the command that runs points. Imports the rest late, so that an interrupt is one line from the first moment on."""

import gc
from typing import NoReturn

from experiments.config.interrupts import end_at_once, interrupt_line, open_standard_streams

FEW_SEARCHES = (50_000, 20, 100)
"""When the interpreter searches for garbage: what is imported and composed is none, and was searched for a sixth of the time."""


def main() -> int:
    """Run the command; return its exit code."""
    open_standard_streams()
    from experiments.__main__ import main as run

    return run()


def main_and_exit() -> NoReturn:
    """Run the command and end the process."""
    open_standard_streams()
    gc.set_threshold(*FEW_SEARCHES)
    end_at_once(interrupt_line())
    from experiments.__main__ import main_and_exit as run

    run()
