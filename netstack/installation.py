"""Where these sources are, and how a process of them was started.

They lie in a checkout, with configuration files and outputs beside them, or alone, as a wheel installs them or as a cluster
receives them. Knows no part of netstack.
"""

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def checkout() -> Path | None:
    """Return the top folder of the checkout that these sources are in, None if they are in none."""
    root = PACKAGE.parent
    return root if (root / "run.py").is_file() and (root / "conf").is_dir() else None


def started_as(otherwise: str) -> str:
    """Return the command of this process as a user types it: an installed one, that of a module, or `otherwise`."""
    path = Path(sys.argv[0])
    if re.fullmatch(r"netstack(-\w+)?", path.name):
        return path.name
    if path.name == "__main__.py" and path.resolve().is_relative_to(PACKAGE.parent):
        return f"python -m {'.'.join(path.resolve().parent.relative_to(PACKAGE.parent).parts)}"
    return otherwise
