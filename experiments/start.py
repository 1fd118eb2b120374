"""The door of the command that runs points. Imports the rest late, so that an interrupt is one line from the first moment on."""

from typing import NoReturn

from experiments.config.interrupts import end_at_once, interrupt_line


def main() -> int:
    """Run the command; return its exit code."""
    from experiments.__main__ import main as run

    return run()


def main_and_exit() -> NoReturn:
    """Run the command and end the process."""
    end_at_once(interrupt_line())
    from experiments.__main__ import main_and_exit as run

    run()
