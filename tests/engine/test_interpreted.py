"""The simulator as plain Python: the same functions, interpreted, give the result of the compiled ones."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from netstack.engine import SimulationConfig, simulate

ROOT = Path(__file__).resolve().parent.parent.parent
OVERRIDES = ["conns=6", "engine.warmup_ms=1.2", "engine.measure_ms=0.6", "workload.start_spread_us=0"]
SCRIPT = """
import sys
from hydra import compose, initialize_config_dir
from experiments.configuration import register_schema, simulation_config
from netstack.engine import simulate
register_schema()
with initialize_config_dir(sys.argv[1], version_base="1.3"):
    config = simulation_config(compose("config", sys.argv[2:]))
print(simulate(config).to_json())
"""


@pytest.mark.parametrize("org", ["msgp", "connp_t", "linux", "freebsd", "dragonflybsd", "solaris10"])
def test_interpreted_code_gives_the_same_result(composed: Callable[..., SimulationConfig], org: str) -> None:
    overrides = [f"org={org}", *OVERRIDES]
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-c", SCRIPT, str(ROOT / "conf"), *overrides]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    interpreted, compiled = json.loads(done.stdout), json.loads(simulate(composed(*overrides)).to_json())
    assert compiled["data_segments"] > 50
    for name, value in compiled.items():
        if not name.startswith("wall_"):
            assert interpreted[name] == value, name
