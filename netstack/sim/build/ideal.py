"""Makes mechanisms free: turns a configuration with `ideal` into one with other prices, before its state is laid out.

Knows what a mechanism costs by configuration. That a lock waits is no price: `netstack.sim.machine` reads a flag for it.
"""

from collections.abc import Collection
from dataclasses import replace

from netstack.sim.config import SimulationConfig
from netstack.sim.machine.config import MachineConfig
from netstack.sim.machine.costs import CostsConfig, OperationCost
from netstack.sim.machine.numbers import Category, Operation

PRICES = {
    "coherence": (
        *("cache_same_node_cycles", "cache_other_node_cycles", "cache_same_group_cycles"),
        *("upgrade_cycles", "upgrade_same_group_cycles"),
    ),
    "capacity": ("l2_hit_cycles", "llc_hit_cycles", "memory_local_cycles", "memory_remote_cycles"),
    "atomics": ("atomic_cycles",),
}
"""Latencies that are 0 if a mechanism is free: lines from other cores, lines from elsewhere, and locked instructions."""
OPERATIONS = {
    "scheduling": (
        *(Operation.SLEEP, Operation.SWITCH_OUT, Operation.CONTEXT_SWITCH, Operation.SWITCH_IN),
        *(Operation.WAKEUP, Operation.RUN_QUEUE_ADD, Operation.IPI_SEND, Operation.IPI_RECEIVE),
    ),
    "interrupts": (Operation.INTERRUPT, Operation.TIMER_INTERRUPT, Operation.SOFTIRQ),
}
"""Operations that cost nothing if a mechanism is free. Of `copies` these are the operations of the category `copy`."""


def priced(config: SimulationConfig) -> SimulationConfig:
    """Return a configuration in which the mechanisms of its `ideal` have no price; itself if there are none."""
    if not config.ideal:
        return config
    return replace(config, machine=_machine(config.machine, config.ideal), costs=_costs(config.costs, config.ideal))


def _machine(machine: MachineConfig, ideal: Collection[str]) -> MachineConfig:
    free = {name: 0 for mechanism in ideal for name in PRICES.get(mechanism, ())}
    machine = replace(machine, latency=replace(machine.latency, **free))
    if "scheduling" in ideal:
        machine = replace(machine, ipi_latency_us=0.0, wake_us=0.0)
    return replace(machine, interrupt_evicts_lines=0) if "interrupts" in ideal else machine


def _costs(costs: CostsConfig, ideal: Collection[str]) -> CostsConfig:
    """Return costs in which operations of free mechanisms run no instruction, touch no line and take no lock."""
    free = {operation.key for mechanism in ideal for operation in OPERATIONS.get(mechanism, ())}
    if "copies" in ideal:
        free |= {name for name, operation in costs.operations.items() if operation.category == Category.COPY.key}
    operations = {
        name: OperationCost(category=operation.category) if name in free else operation
        for name, operation in costs.operations.items()
    }
    locks = {
        name: replace(
            lock,
            ticket=lock.ticket and "locks" not in ideal,
            operations=[operation for operation in lock.operations if operation not in free],
        )
        for name, lock in costs.locks.items()
    }
    return replace(costs, operations=operations, locks=locks)
