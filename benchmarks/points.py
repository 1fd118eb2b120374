"""Which points benchmarks run, and from where."""

from pathlib import Path

from experiments.config.locations import CONF

ROOT = Path(__file__).resolve().parent.parent


def organization_names() -> list[str]:
    """Return the organizations that there is a file for."""
    return sorted(path.stem for path in (CONF / "org").glob("*.yaml"))
