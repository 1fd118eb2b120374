"""What a connection remembers is right after any number of bytes: numbers compare only within 2**31 of each other."""

import numpy as np
import pytest

from netstack.tcp.connection import tcp_close
from netstack.tcp.header import ACK, ECE, FIN, SEGMENT
from netstack.tcp.probe import PROBE_TAIL
from netstack.tcp.scoreboard import SCOREBOARD
from netstack.tcp.states import State
from tests.helpers.packet_trace import MODULUS, Endpoint, record

STEP = 300_000_000
STEPS = [0, 1, 6, 7, 8, 11, 14, 15]
"""Of 300 MB: 2**31 bytes are between the 7th and the 8th, 2**32 between the 14th and the 15th."""


def long_sender(steps: int, **fields: int) -> tuple[Endpoint, int, int]:
    """An endpoint that has sent so many steps, all acknowledged; return how much that is and the time."""
    endpoint = Endpoint(send_window=1 << 29, delayed_ack_us=0)
    pcb = endpoint.pcb
    pcb.burst_segments = STEP // 1000
    for name, value in fields.items():
        setattr(pcb, name, value)
    sent = 0
    for number in range(1, steps + 1):
        pcb.snd_cwnd = pcb.snd_ssthresh = 1 << 29
        endpoint.write(STEP)
        assert sum(int(segment.length) for segment in endpoint.output(number * 1000)) == STEP
        sent += STEP
        endpoint.receive(number * 1000 + 500, f"ack {sent}")
    pcb.burst_segments = 1
    pcb.snd_cwnd, pcb.snd_ssthresh = 100_000, 1 << 29
    return endpoint, sent, steps * 1000 + 1000


def recording_board() -> np.ndarray:
    board = np.zeros(1, SCOREBOARD)
    board["use_rack"], board["use_probes"], board["use_dsack"] = 1, PROBE_TAIL, 1
    return board


@pytest.mark.parametrize("steps", STEPS)
def test_a_mark_of_the_network_is_heeded(steps: int) -> None:
    """`ecn_recover` (RFC 3168, section 6.1.2): the window shrinks at the first echo, once per window."""
    endpoint, sent, now = long_sender(steps, use_ecn=1)
    endpoint.write(51_000)
    endpoint.output(now)
    endpoint.receive(now, f"ack {sent + 1000}")  # an ACK without a mark goes before
    for number, window in ((2, 25_000), (3, 25_040)):  # half of 50,000 in flight, then 1000 * 1000 / 25,000 more
        segment = record(SEGMENT)
        segment.flags, segment.seq, segment.window = ACK | ECE, endpoint.irs, 30_000
        segment.ack = (endpoint.iss + sent + number * 1000) % MODULUS
        segment.has_timestamps, segment.ts_val = 1, now
        endpoint.receive_segment(now + number, segment)
        assert endpoint.pcb.ecn_reduced == 1
        assert endpoint.pcb.snd_cwnd == window


@pytest.mark.parametrize("steps", STEPS)
def test_a_mark_of_the_network_is_heeded_with_a_scoreboard(steps: int) -> None:
    board = recording_board()
    endpoint, sent, now = long_sender(steps, use_ecn=1, use_sack=1, scoreboard_address=board.ctypes.data)
    endpoint.pcb.snd_cwnd = 10_000  # all of it is used: the threshold follows the window
    endpoint.write(10_000)
    endpoint.output(now)
    endpoint.receive(now, f"ack {sent + 1000}")
    assert endpoint.pcb.ecn_reduced == 0
    segment = record(SEGMENT)
    segment.flags, segment.seq, segment.window = ACK | ECE, endpoint.irs, 30_000
    segment.ack = (endpoint.iss + sent + 2000) % MODULUS
    segment.has_timestamps, segment.ts_val = 1, now
    endpoint.receive_segment(now + 1, segment)
    assert endpoint.pcb.ecn_reduced == 1
    assert endpoint.pcb.snd_ssthresh < 10_000


@pytest.mark.parametrize("steps", STEPS)
def test_a_loss_is_repaired(steps: int) -> None:
    """`snd_recover` (RFC 6582): the third duplicate begins a recovery."""
    endpoint, sent, now = long_sender(steps)
    endpoint.write(5000)
    endpoint.output(now)
    for at in range(now, now + 3):
        endpoint.receive(at, f"ack {sent}")
    assert endpoint.pcb.in_recovery == 1
    endpoint.receive(now + 4, f"ack {sent + 5000}")
    assert endpoint.pcb.in_recovery == 0


@pytest.mark.parametrize("steps", STEPS)
def test_a_loss_is_found_by_time(steps: int) -> None:
    """The scoreboard's numbers, `fack` and others (RFC 8985): six segments are sent, all but the first are reported."""
    board = recording_board()
    endpoint, sent, now = long_sender(steps, use_sack=1, scoreboard_address=board.ctypes.data)
    endpoint.write(6000)
    endpoint.output(now)
    segment = record(SEGMENT)
    segment.flags, segment.seq, segment.window = ACK, endpoint.irs, 30_000
    segment.ack = (endpoint.iss + sent) % MODULUS
    segment.has_timestamps, segment.ts_val, segment.ts_ecr = 1, now, endpoint.echo
    segment.sack_count = 1
    segment.sack_start[0], segment.sack_end[0] = (segment.ack + 1000) % MODULUS, (segment.ack + 6000) % MODULUS
    endpoint.receive_segment(now + 500, segment)
    assert endpoint.pcb.in_recovery == 1
    again = sent % MODULUS
    endpoint.sends(now + 500, f"{again}:{again + 1000} ack 0")
    endpoint.receive(now + 1000, f"ack {sent + 6000}")
    assert (endpoint.pcb.in_recovery, board["run_count"][0], board["probe_deadline_us"][0]) == (0, 0, 0)


@pytest.mark.parametrize("steps", STEPS)
def test_round_trips_are_measured(steps: int) -> None:
    """`timed_seq` (RFC 6298, section 3), without time stamps."""
    endpoint, sent, now = long_sender(steps, use_timestamps=0)
    endpoint.pcb.srtt_us = 0
    endpoint.write(1000)
    endpoint.output(now)
    endpoint.receive(now + 700, f"ack {sent + 1000}")
    assert endpoint.pcb.srtt_us == 700


@pytest.mark.parametrize("steps", STEPS)
def test_the_end_is_where_the_data_ends(steps: int) -> None:
    """`fin_seq`: neither sent nor acknowledged before it is due."""
    endpoint, sent, now = long_sender(steps)
    endpoint.write(500)
    (data,) = endpoint.output(now)
    assert not data.flags & FIN
    tcp_close(endpoint.pcb, now)
    endpoint.output_due = True
    (fin,) = endpoint.output(now)
    assert fin.flags & FIN
    endpoint.receive(now + 1, f"ack {sent + 500}")
    assert endpoint.pcb.state == State.FIN_WAIT_1
    endpoint.receive(now + 2, f"ack {sent + 501}")
    assert endpoint.pcb.state == State.FIN_WAIT_2


@pytest.mark.parametrize("steps", STEPS)
def test_windows_and_time_stamps_are_taken_from_a_long_stream(steps: int) -> None:
    """`snd_wl1` (RFC 9293, section 3.10.7.4), `last_ack_sent` (RFC 7323, section 4.3), `rcv_adv`, and `peer_fin_seq`."""
    endpoint = Endpoint(receive_buffer=1 << 29, delayed_ack_us=0)
    got = 0
    for number in range(1, steps + 1):
        endpoint.receive(number * 1000, f"{got}:{got + STEP} ack 0 val {number} ecr 0")
        assert endpoint.pcb.delivered_bytes == STEP
        got += STEP
        (answer,) = endpoint.output(number * 1000)
        assert answer.window << int(endpoint.pcb.rcv_scale) == 1 << 29
    now = steps * 1000 + 1000
    endpoint.receive(now, f"{got}:{got} ack 0 win 7000 val 90 ecr 0")
    assert (endpoint.pcb.snd_wnd, endpoint.pcb.ts_recent) == (7000, 90)
    endpoint.receive(now + 1, f"{got + 1000}:{got + 2000} ack 0 val 91 ecr 0")  # behind a gap
    endpoint.receive(now + 2, f"{got}:{got + 1000} ack 0 val 91 ecr 0")
    assert endpoint.pcb.delivered_bytes == 2000
    endpoint.output(now + 2)
    assert (endpoint.pcb.fin_received, endpoint.pcb.state) == (0, State.ESTABLISHED)
