"""Where the project's files are."""

from pathlib import Path

from experiments.config.locations import CONF

ROOT = Path(__file__).resolve().parents[2]

__all__ = ["CONF", "ROOT"]
