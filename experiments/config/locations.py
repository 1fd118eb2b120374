"""Where the sources and the files of `conf/` are. Everything else asks here, and nothing here knows what is in them."""

from pathlib import Path

from netstack.installation import checkout

EXPERIMENTS = Path(__file__).resolve().parents[1]
CONF = (checkout() or EXPERIMENTS) / "conf"
"""The groups of Hydra, and the specifications of calibration and sensitivity: of the checkout, or of the wheel."""
