"""Draws the way of a write through a trace: ``python -m experiments.trace FILE --picture way.png``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.config.user_errors import InputError
from experiments.trace.picture import draw_way, find_way, read_trace
from netstack.installation import started_as

BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog=started_as("python -m experiments.trace"), description=__doc__)
    parser.add_argument("file", type=Path, help="that trace=chrome has written")
    parser.add_argument("--picture", type=Path, required=True, help="PNG to write")
    parser.add_argument("--connection", type=int, help="whose write; else that with the shortest way")
    given = parser.parse_args(arguments)
    try:
        data = read_trace(given.file)
        way = find_way(data["traceEvents"], given.connection)
        draw_way(data, way, given.picture)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    print(f"written: {given.picture} (connection {way.connection})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
