"""The door of the command that runs points. Imports the rest late, so that an interrupt is one line from the first moment on."""

from typing import NoReturn

from experiments.config.interrupts import end_at_once, interrupt_line, open_standard_streams


def main() -> int:
    """Run the command; return its exit code."""
    open_standard_streams()
    from experiments.__main__ import main as run

    return run()


def main_and_exit() -> NoReturn:
    """Run the command and end the process."""
    open_standard_streams()
    end_at_once(interrupt_line())
    from experiments.__main__ import main_and_exit as run

    run()
