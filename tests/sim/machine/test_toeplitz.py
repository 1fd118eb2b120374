"""The card's hash against its published test vectors, and how evenly it spreads connections."""

import numpy as np
import pytest

from netstack.jit.compilation import compiled
from netstack.sim import SimulationConfig
from netstack.sim.build.build import build
from netstack.sim.machine.config import MachineConfig, NicConfig
from netstack.sim.machine.toeplitz import toeplitz

VECTORS = (  # source, destination, hash: Microsoft, Verifying the RSS Hash Calculation
    ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x51CCC178),
    ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xC626B0EA),
    ("24.19.198.95", 12898, "12.22.207.184", 38024, 0x5C2B394A),
    ("38.27.205.30", 48228, "209.142.163.6", 2217, 0xAFC7327F),
    ("153.39.163.191", 44251, "202.188.127.2", 1303, 0x10E828A2),
)
QUEUES, CONNECTIONS = 16, 64_000
CHI_SQUARE_99_9 = 37.70  # of 15 degrees of freedom, by tables


@compiled
def hash_all(machine, tuples, values):
    """Hash the tuples of an array; shape (count, 4): source, destination, source port, destination port."""
    for index in range(len(tuples)):
        values[index] = toeplitz(machine, tuples[index, 0], tuples[index, 1], tuples[index, 2], tuples[index, 3])


def hashes(tuples: np.ndarray) -> np.ndarray:
    simulation = build(SimulationConfig(conns=1, machine=MachineConfig(nic=NicConfig(count=1))))
    values = np.zeros(len(tuples), np.int64)
    hash_all(simulation.machine, tuples, values)
    return values


def address(text: str) -> int:
    return int.from_bytes(bytes(int(part) for part in text.split(".")), "big")


@pytest.mark.parametrize(("source", "source_port", "destination", "destination_port", "expected"), VECTORS)
def test_published_vectors(source: str, source_port: int, destination: str, destination_port: int, expected: int) -> None:
    tuples = np.array([[address(source), address(destination), source_port, destination_port]], np.int64)
    assert hashes(tuples).tolist() == [expected]


def test_random_connections_spread_as_a_binomial_does() -> None:
    random = np.random.default_rng(1)
    tuples = random.integers(0, [1 << 32, 1 << 32, 1 << 16, 1 << 16], (CONNECTIONS, 4))
    counts = np.bincount(hashes(tuples) % QUEUES, minlength=QUEUES)
    mean = CONNECTIONS / QUEUES
    assert float(((counts - mean) ** 2).sum() / mean) < CHI_SQUARE_99_9
    assert counts.std() > 0.3 * np.sqrt(mean * (1 - 1 / QUEUES))  # nor more evenly than by chance
