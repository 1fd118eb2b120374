"""Where the sources and the files of `conf/` are. Everything else asks here, and nothing here knows what is in them."""

from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2]
"""The folder of the packages `netstack` and `experiments`."""
CONF = SOURCES / "conf"
"""The groups of Hydra, and the specifications of calibration and sensitivity."""
