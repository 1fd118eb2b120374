"""Simulate one point in this process, and say where the cycles of a KB of payload go.

.venv/bin/python examples/one_point.py org=msgp conns=192
"""

import sys

from experiments.config.compose import compose_simulation
from netstack.sim import simulate

config = compose_simulation(*sys.argv[1:])
result = simulate(config)
print(f"{config.org.name}, {config.conns} connections: {result.goodput_mbps:,.0f} Mb/s")
for category, cycles in sorted(result.cycles_per_kb.items(), key=lambda item: -item[1]):
    print(f"{cycles:8,.0f} cycles/KB  {category}")
