"""``python -m netstack.wire``."""

import sys

from netstack.wire.command_line import main

sys.exit(main())
