"""Header prediction against the conditions that tcp_input() of FreeBSD tests, one by one, and what hangs on it."""

import dataclasses
from collections.abc import Callable

import pytest

from netstack.sim import SimulationConfig, simulate
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.config import SimulationConfig as Config
from netstack.sim.kernel.connections import keeps_table
from netstack.sim.stack.numbers import ItemKind
from netstack.sim.workload.config import WorkloadConfig
from netstack.tcp.header import ACK, ECE, FIN, PSH, RST, SYN, URG
from netstack.tcp.states import State

SENT, ACKED, NEXT, WINDOW, SCALE = 5000, 1000, 70, 4096, 3
PCB = {
    "state": State.ESTABLISHED,
    "snd_una": ACKED,
    "snd_nxt": SENT,
    "snd_max": SENT,
    "rcv_nxt": NEXT,
    "snd_wnd": WINDOW << SCALE,
    "snd_scale": SCALE,
    "snd_cwnd": WINDOW << SCALE,
    "in_recovery": 0,
}
SEGMENT = {"flags": ACK, "seq": NEXT, "ack": SENT, "window": WINDOW, "length": 0}
TAKEN = {
    "as expected": ({}, {}),
    "pushed": ({}, {"flags": ACK | PSH}),
    "with an echo of congestion": ({}, {"flags": ACK | ECE}),
    "one byte is new": ({}, {"ack": ACKED + 1}),
    "a larger congestion window": ({"snd_cwnd": (WINDOW << SCALE) + 1}, {}),
    "past the end of numbers": ({"snd_una": (1 << 32) - 10}, {}),
}
NOT_TAKEN = {
    "not established": ({"state": State.CLOSE_WAIT}, {}),
    "established a moment ago": ({"state": State.SYN_RECEIVED}, {}),
    "SYN": ({}, {"flags": ACK | SYN}),
    "FIN": ({}, {"flags": ACK | FIN}),
    "RST": ({}, {"flags": ACK | RST}),
    "URG": ({}, {"flags": ACK | URG}),
    "no ACK": ({}, {"flags": 0}),
    "payload": ({}, {"length": 1}),
    "out of order": ({}, {"seq": NEXT + 1}),
    "a smaller window": ({}, {"window": WINDOW - 1}),
    "a larger window": ({}, {"window": WINDOW + 1}),
    "a closed window again": ({"snd_wnd": 0}, {"window": 0}),
    "a retransmission is going on": ({"snd_nxt": SENT - 1}, {}),
    "nothing new": ({}, {"ack": ACKED}),
    "old": ({}, {"ack": ACKED - 1}),
    "never sent": ({}, {"ack": SENT + 1}),
    "a small congestion window": ({"snd_cwnd": (WINDOW << SCALE) - 1}, {}),
    "recovery": ({"in_recovery": 1}, {}),
}


def received(pcb: dict[str, int], segment: dict[str, int], workload: WorkloadConfig | None = None) -> Simulation:
    """Return a server whose item 0 is a segment that its only connection received."""
    simulation = build(Config(conns=1, workload=workload or WorkloadConfig()))
    for name, value in {**PCB, **pcb}.items():
        simulation.tables["pcb"][name][0] = value
    for name, value in {**SEGMENT, **segment}.items():
        simulation.tables["segment"][name][0] = value
    simulation.tables["item"]["kind"][0], simulation.tables["item"]["flow"][0] = ItemKind.PACKET, 0
    return simulation


@pytest.mark.parametrize("case", TAKEN)
def test_a_predicted_acknowledgment_gives_the_tables_lock_back_early(case: str) -> None:
    simulation = received(*TAKEN[case])
    assert not keeps_table(simulation.stack, 0)


@pytest.mark.parametrize("case", NOT_TAKEN)
def test_any_other_segment_keeps_the_tables_lock(case: str) -> None:
    simulation = received(*NOT_TAKEN[case])
    assert keeps_table(simulation.stack, 0)


def test_requests_keep_it_if_they_may_end_the_connection() -> None:
    for bytes_per_connection, kinds in ((0, []), (1000, [ItemKind.TIMER, ItemKind.CLOSE])):
        simulation = received({}, {}, WorkloadConfig(bytes_per_connection=bytes_per_connection))
        keeping = []
        for kind in (ItemKind.SEND, ItemKind.TIMER, ItemKind.CLOSE):
            simulation.tables["item"]["kind"][0] = kind
            if keeps_table(simulation.stack, 0):
                keeping.append(kind)
        assert keeping == kinds


def test_receivers_that_read_later_keep_the_tables_lock_longer(composed: Callable[..., SimulationConfig]) -> None:
    """Each acknowledgment then announces another window, as long as a connection is sent more than it reads."""
    config = composed("org=msgp", "conns=12", "engine.warmup_ms=5", "engine.measure_ms=20")
    at_once, later = (
        simulate(dataclasses.replace(config, workload=dataclasses.replace(config.workload, read_delay_us=delay)))
        for delay in (0.0, 200.0)
    )
    holds = [result.lock["global"].hold_cycles for result in (at_once, later)]
    assert holds[1] > 1.3 * holds[0]
