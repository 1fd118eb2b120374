"""The command ``python -m netstack.wire``. Knows only where its `main` is."""

import sys

from netstack.wire.command_line import main

if __name__ == "__main__":
    sys.exit(main())
