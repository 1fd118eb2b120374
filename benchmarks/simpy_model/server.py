"""Assembly of the SimPy model from a configuration, and its run."""

import time
from dataclasses import dataclass

import numpy as np
import simpy

from benchmarks.simpy_model.caches import UnsupportedError
from benchmarks.simpy_model.network import Connection, Nic, RemoteEnds
from benchmarks.simpy_model.scheduling import AdaptiveLock, Machine
from benchmarks.simpy_model.threads import Application, Inbound, Owner, Stack
from netstack.sim import SimulationConfig
from netstack.sim.build.machine import FIRST_INTERRUPT
from netstack.sim.build.sizes import sizes_of
from netstack.sim.stack.timer_wheel import TICK_US
from netstack.tcp.lookup import tuple_hash

FIRST_ADDRESS, LOCAL_PORT, FOREIGN_PORTS = 0x0A000001, 5001, 50000


@dataclass(frozen=True)
class PeerResult:
    """What happened in one simulated interval."""

    goodput_mbps: float
    data_segments: int
    wall_seconds: float


class Server:
    """The whole simulation: machine, threads, connections and the remote ends."""

    def __init__(self, config: SimulationConfig) -> None:
        config.validate()
        org = config.org
        if org.dispatch != "nic_thread" or org.batch != 1 or org.lookup not in ("global_lock", "group"):
            raise UnsupportedError("the SimPy model has dispatch=nic_thread, batch=1 and lookup=global_lock or group only")
        self.config = config
        self.env = simpy.Environment()
        sizes = sizes_of(config)
        self.machine = Machine(self.env, config, sizes.instances)
        self.remote_ends = RemoteEnds(self.env, config)
        self.stack = Stack(config, self.machine, sizes, self.remote_ends)
        self.locks = [AdaptiveLock(index) for index in range(sizes.population.machine.locks)]  # the first one is the table's
        if org.lookup == "global_lock":
            self.stack.table_lock = self.locks[0]
        self.nics = [Nic(self.machine, config, index) for index in range(config.machine.nic.count)]
        self._create_threads(sizes.app_threads, sizes.population.ports)
        self._open_connections(sizes.buckets_per_group)

    def _create_threads(self, applications: int, owners: int) -> None:
        """Create the threads in the order application, inbound, owner, and start all processes."""
        stack, cores = self.stack, self.machine.cores
        stack.applications = [Application(stack, index, cores[index % len(cores)]) for index in range(applications)]
        draw = np.random.Generator(np.random.PCG64([self.config.seed, FIRST_INTERRUPT]))
        first = int(draw.integers(self.config.machine.cores))
        inbound = [
            Inbound(stack, applications + nic.index, cores[nic.index % len(cores)], nic, cores[(first + nic.index) % len(cores)])
            for nic in self.nics
        ]
        first_owner = applications + len(inbound)
        stack.owners = [Owner(stack, first_owner + group, cores[group % len(cores)], group) for group in range(owners)]
        self.threads = [*stack.applications, *inbound, *stack.owners]
        for thread in self.threads:
            self.env.process(thread.run())
        for thread in inbound:
            self.env.process(thread.nic.run(thread.interrupt))
        self.env.process(self.remote_ends.run())

    def _open_connections(self, buckets_per_group: int) -> None:
        """Draw distances, hash function and start times as the simulator does, so that the connections are the same."""
        config, workload, applications, nics = self.config, self.config.workload, self.stack.applications, self.nics
        draw = np.random.Generator(np.random.PCG64(config.seed))
        hash_seed = int(draw.integers(1 << 31))
        rtt_us = draw.uniform(workload.rtt_min_us, workload.rtt_max_us, config.conns).tolist()
        start_us = draw.uniform(0, workload.start_spread_us, config.conns).tolist()
        chains: dict[int, list[int]] = {}
        self.connections: list[Connection] = []
        for index in range(config.conns):
            local_address = FIRST_ADDRESS + (index % len(nics) << 16)
            foreign_address, foreign_port = local_address + 1 + index // FOREIGN_PORTS, 1024 + index % FOREIGN_PORTS
            value = tuple_hash(hash_seed, local_address, LOCAL_PORT, foreign_address, foreign_port)
            group = (value >> 16) % config.org.groups
            bucket = group * buckets_per_group + value % buckets_per_group
            connection = Connection(
                index=index,
                nic=nics[index % len(nics)],
                application=(index + index // len(nics)) % len(applications),
                rtt_cycles=round(rtt_us[index] * config.machine.clock_mhz),
                group=group,
                bucket=bucket,
                window_bytes=workload.receive_buffer_bytes,
                peer_window_bytes=workload.receive_buffer_bytes,
                announced=workload.receive_buffer_bytes,
            )
            if config.org.serialize in ("group_lock", "connection_lock"):
                connection.lock = self.locks[1 + (group if config.org.serialize == "group_lock" else index)]
            chain = chains.setdefault(bucket, [])
            chain.append(index)
            connection.chain = chain[:]
            self.connections.append(connection)
            start_cycles = (int(start_us[index] // TICK_US) + 1) * TICK_US * config.machine.clock_mhz
            started = self.env.timeout(start_cycles, connection)
            started.callbacks.append(applications[connection.application].start)

    def run(self, interval_ms: float) -> PeerResult:
        """Simulate a further interval and return what happened in it."""
        acked_bytes, data_segments = self._acked_bytes(), self.stack.data_segments
        until = self.env.now + round(interval_ms * 1000 * self.config.machine.clock_mhz)
        started = time.perf_counter()
        self.env.run(until)
        wall_seconds = time.perf_counter() - started
        return PeerResult(
            goodput_mbps=(self._acked_bytes() - acked_bytes) * 8 / 1000 / interval_ms,
            data_segments=self.stack.data_segments - data_segments,
            wall_seconds=wall_seconds,
        )

    def _acked_bytes(self) -> int:
        return sum(connection.acked for connection in self.connections)
