"""Simulate one point in this process, and say where the cycles of a KB of payload go.

.venv/bin/python examples/one_point.py org=msgp conns=192
"""

import sys
from pathlib import Path

from hydra import compose, initialize_config_dir

from experiments.config.configuration import register_schema, simulation_config
from netstack.sim import simulate

CONF = Path(__file__).resolve().parents[1] / "conf"

register_schema()
with initialize_config_dir(str(CONF), version_base="1.3"):
    config = simulation_config(compose("config", sys.argv[1:]))
result = simulate(config)
print(f"{config.org.name}, {config.conns} connections: {result.goodput_mbps:,.0f} Mb/s")
for category, cycles in sorted(result.cycles_per_kb.items(), key=lambda item: -item[1]):
    print(f"{cycles:8,.0f} cycles/KB  {category}")
