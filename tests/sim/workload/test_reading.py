"""Remote applications that read later: the windows that their ends announce, against a timeline made by hand."""

import pytest

from netstack.jit.compilation import compiled
from netstack.sim.build.build import build
from netstack.sim.config import SimulationConfig
from netstack.sim.machine.config import MachineConfig
from netstack.sim.stack.numbers import Side
from netstack.sim.stack.state import out_segment
from netstack.sim.workload.config import WorkloadConfig
from netstack.sim.workload.peer import peer_receive
from netstack.tcp.header import ACK

MSS, BUFFER, CLOCK_MHZ = 1448, 262144, 2200
TIMES_US = (0, 10, 20, 30, 49, 50, 60, 61, 200, 210)


@compiled
def deliver(machine, stack, sent_at):
    """Deliver the segment that the host has built."""
    peer_receive(machine, stack, 0, out_segment(stack, Side.LOCAL), sent_at)


def announced(read_delay_us: float, times_us: tuple[int, ...] = TIMES_US) -> list[int]:
    """Return the windows in bytes that the remote end announces, one for two segments, if they come at these times."""
    workload = WorkloadConfig(read_delay_us=read_delay_us, receive_buffer_bytes=BUFFER)
    simulation = build(SimulationConfig(conns=1, machine=MachineConfig(clock_mhz=CLOCK_MHZ), workload=workload))
    flow, pcb, peer = (simulation.tables[name][0] for name in ("flow", "pcb", "peer"))
    segment = simulation.tables["out_segment"][0]
    for name, value in {"flags": ACK, "length": MSS, "window": 1000, "ack": peer["snd_nxt"]}.items():
        segment[name] = value
    for theirs, ours in (("source", "local"), ("destination", "foreign")):
        for part in ("address", "port"):
            segment[f"{theirs}_{part}"] = pcb[f"{ours}_{part}"]
    segment["has_timestamps"], segment["seq"] = 1, peer["rcv_nxt"]
    windows = []
    for time_us in times_us:
        segment["ts_val"] = peer["ts_recent"]
        arrivals = simulation.tables["nic"]["frames_arrived"].sum()
        sent_at = time_us * CLOCK_MHZ - int(flow["outbound_cycles"]) + 10_000_000
        deliver(simulation.machine, simulation.stack, sent_at)
        segment["seq"] += MSS
        if simulation.tables["nic"]["frames_arrived"].sum() > arrivals:
            answer = simulation.tables["segment"][arrivals]
            windows.append(int(answer["window"]) << int(peer["rcv_scale"]))
    return windows


def test_windows_follow_a_timeline_made_by_hand() -> None:
    """Read 50 us after the first unread byte: at 50, 100 and 250. Answered are the segments at 10, 30, 50, 61 and 210."""
    unread_segments = [2, 4, 1, 3, 2]  # five are read at 50, before the sixth comes
    assert announced(50) == [BUFFER - count * MSS for count in unread_segments]


def test_who_reads_at_once_announces_the_whole_buffer() -> None:
    assert announced(0) == [BUFFER] * 5


@pytest.mark.parametrize("late", [False, True])
def test_data_that_comes_at_the_moment_of_reading_is_not_read_with_it(late: bool) -> None:
    assert announced(50, (0, 50 - (not late))) == [BUFFER - (1 if late else 2) * MSS]
