"""Points that benchmarks run, composed from `conf/` as a user's are."""

from pathlib import Path

from hydra import compose, initialize_config_dir

from experiments.config.configuration import register_schema, simulation_config
from netstack.sim import SimulationConfig

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"


def organization_names() -> list[str]:
    """Return the organizations that there is a file for."""
    return sorted(path.stem for path in (CONF / "org").glob("*.yaml"))


def compose_point(*overrides: str) -> SimulationConfig:
    """Return the validated configuration that overrides such as ``org=up`` give."""
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return simulation_config(compose("config", list(overrides)))
