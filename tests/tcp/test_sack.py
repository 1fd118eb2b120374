"""The sender's scoreboard against RFC 6675, worked out by hand, and the receiver's blocks against RFC 2018.

Segments are of 1,000 bytes.
"""

import pytest

from netstack.tcp.header import ACK, SEGMENT
from netstack.tcp.sack import sack_next_hole, sack_pipe
from tests.helpers.packet_trace import ISS, MODULUS, Endpoint, record


def sender(segments: int = 10, **options: int) -> Endpoint:
    endpoint = Endpoint(cwnd=20_000, **options)
    endpoint.pcb.use_sack = 1
    endpoint.write(60_000)
    endpoint.pcb.snd_cwnd = segments * 1000
    endpoint.sends(0, *[f"{1000 * number}:{1000 * number + 1000} ack 0" for number in range(segments)])
    return endpoint


def acknowledge(endpoint: Endpoint, at: int, ack: int, *blocks: tuple[int, int]) -> None:
    segment = record(SEGMENT)
    segment.flags, segment.seq, segment.ack = ACK, endpoint.irs, (ISS + ack) % MODULUS
    segment.window, segment.has_timestamps, segment.ts_val = 64000, 1, at
    segment.sack_count = len(blocks)
    for index, (start, end) in enumerate(blocks):
        segment.sack_start[index], segment.sack_end[index] = (ISS + start) % MODULUS, (ISS + end) % MODULUS
    endpoint.receive_segment(at, segment)


def board(endpoint: Endpoint) -> list[tuple[int, int]]:
    count, cold = int(endpoint.pcb.sacked_count), endpoint.cold
    return [
        (int(a - ISS) % MODULUS, int(b - ISS) % MODULUS)
        for a, b in zip(cold.sacked_start[:count].tolist(), cold.sacked_end[:count].tolist(), strict=True)
    ]


def test_the_scoreboard_is_the_union_of_valid_blocks() -> None:
    """Blocks below the ACK (duplicates, RFC 2883), beyond what was sent, and empty ones say nothing."""
    endpoint = sender()
    acknowledge(endpoint, 10, 2000, (4000, 5000), (1000, 2000), (6000, 6000))
    acknowledge(endpoint, 20, 2000, (5000, 6000), (9000, 11_000))
    assert board(endpoint) == [(4000, 6000)]
    acknowledge(endpoint, 30, 5000)
    assert board(endpoint) == [(5000, 6000)]


def test_two_duplicates_send_new_data_and_the_third_the_lost_segment() -> None:
    """RFC 3042 and RFC 6675, section 5: ssthresh is half of the 10 in flight, one segment is retransmitted at once."""
    endpoint = sender()
    acknowledge(endpoint, 10, 0, (1000, 2000))
    endpoint.sends(10, "10000:11000 ack 0")
    acknowledge(endpoint, 11, 0, (1000, 3000))
    endpoint.sends(11, "11000:12000 ack 0")
    acknowledge(endpoint, 12, 0, (1000, 4000))
    endpoint.sends(12, "0:1000 ack 0")
    assert endpoint.pcb.snd_ssthresh == 5000


def test_a_large_block_shows_a_loss_without_duplicates() -> None:
    """IsLost(): more than two segments above it have arrived, though one ACK tells of all."""
    endpoint = sender()
    acknowledge(endpoint, 10, 0, (1000, 4000))
    endpoint.sends(10, "0:1000 ack 0")
    assert endpoint.pcb.in_recovery == 1


def test_the_pipe_counts_what_is_neither_lost_nor_reported() -> None:
    """10 segments, 3 to 5 reported: 0 to 2 are lost, 6 to 9 are in flight, and the retransmission of 0 is again."""
    endpoint = sender()
    acknowledge(endpoint, 10, 0, (3000, 6000))
    assert sack_pipe(endpoint.pcb) == 4000
    endpoint.sends(10, "0:1000 ack 0")
    assert sack_pipe(endpoint.pcb) == 5000


def test_holes_are_filled_in_order_as_the_pipe_drains() -> None:
    """Segments 0, 2 and 4 of 10 are lost; the window is 5 segments. NextSeg() rule 1, then rule 2."""
    endpoint = sender()
    acknowledge(endpoint, 10, 0, (1000, 2000), (3000, 4000), (5000, 6000))
    endpoint.sends(10, "0:1000 ack 0")
    for number, last in enumerate((7000, 8000, 9000)):
        acknowledge(endpoint, 20 + number, 0, (1000, 2000), (3000, 4000), (5000, last))
    sent = [int(segment.seq - ISS) % MODULUS for segment in endpoint.output(30)]
    assert sent[:2] == [2000, 4000]
    assert sent[2:] == sorted(sent[2:])
    assert all(start >= 10_000 for start in sent[2:])


def test_a_hole_with_little_above_it_waits() -> None:
    """NextSeg() rule 1 wants a hole that is lost; rule 3 takes any."""
    endpoint = sender()
    acknowledge(endpoint, 10, 0, (1000, 4000), (6000, 7000))
    endpoint.sends(10, "0:1000 ack 0")
    assert sack_next_hole(endpoint.pcb, True)[1] == 0
    seq, length = sack_next_hole(endpoint.pcb, False)
    assert ((int(seq) - ISS) % MODULUS, length) == (4000, 1000)


def test_recovery_ends_with_an_ack_of_everything_that_was_outstanding() -> None:
    endpoint = sender()
    acknowledge(endpoint, 10, 0, (1000, 5000))
    endpoint.output(10)
    acknowledge(endpoint, 20, 5000)
    assert endpoint.pcb.in_recovery == 1
    acknowledge(endpoint, 30, 10_000)
    assert endpoint.pcb.in_recovery == 0
    assert endpoint.pcb.snd_cwnd <= endpoint.pcb.snd_ssthresh + 1000


def test_a_retransmission_that_is_lost_is_sent_again() -> None:
    """Segments 10 to 12 left after the retransmission of segment 0 and arrived: it must have been lost."""
    endpoint = sender()
    acknowledge(endpoint, 10, 0, (1000, 8000))
    endpoint.sends(10, "0:1000 ack 0", "10000:11000 ack 0", "11000:12000 ack 0")
    acknowledge(endpoint, 20, 0, (1000, 11_000))
    endpoint.output(20)
    acknowledge(endpoint, 21, 0, (1000, 12_000))
    sent = [int(segment.seq - ISS) % MODULUS for segment in endpoint.output(21)]
    assert 0 not in sent
    acknowledge(endpoint, 22, 0, (1000, 13_000))
    sent = [int(segment.seq - ISS) % MODULUS for segment in endpoint.output(22)]
    assert sent[0] == 0
    assert endpoint.pcb.snd_ssthresh == 5000


def test_after_a_timeout_what_arrived_is_not_sent_again() -> None:
    """RFC 6675, section 5.1."""
    endpoint = sender(4)
    acknowledge(endpoint, 10, 0, (1000, 2000))
    endpoint.output(10)
    endpoint.expire(endpoint.deadline)
    at = 2_000_000
    endpoint.sends(at, "0:1000 ack 0")
    acknowledge(endpoint, at, 2000)
    assert int(endpoint.output(at)[0].seq - ISS) % MODULUS == 2000


def test_a_receiver_that_reneges_is_noticed_by_the_timeout() -> None:
    """RFC 2018, section 8: it acknowledges up to a range that it reported, and not beyond."""
    endpoint = sender(4)
    acknowledge(endpoint, 10, 0, (1000, 2000))
    acknowledge(endpoint, 20, 1000)
    endpoint.expire(endpoint.deadline)
    assert endpoint.pcb.sacked_count == 0
    assert int(endpoint.output(3_000_000)[0].seq - ISS) % MODULUS == 1000


class TestReceiver:
    """RFC 2018, section 4."""

    @staticmethod
    def blocks(endpoint: Endpoint, at: int) -> list[tuple[int, int]]:
        segment = endpoint.output(at)[-1]
        count = int(segment.sack_count)
        edges = zip(segment.sack_start[:count].tolist(), segment.sack_end[:count].tolist(), strict=True)
        return [((a - endpoint.irs) % MODULUS, (b - endpoint.irs) % MODULUS) for a, b in edges]

    def test_the_block_that_changed_last_comes_first(self) -> None:
        endpoint = Endpoint()
        endpoint.pcb.use_sack = 1
        endpoint.receive(1, "2000:3000 ack 0")
        assert self.blocks(endpoint, 1) == [(2000, 3000)]
        endpoint.receive(2, "6000:7000 ack 0")
        assert self.blocks(endpoint, 2) == [(6000, 7000), (2000, 3000)]
        endpoint.receive(3, "3000:4000 ack 0")
        assert self.blocks(endpoint, 3) == [(2000, 4000), (6000, 7000)]

    def test_with_time_stamps_there_is_room_for_three(self) -> None:
        endpoint = Endpoint()
        endpoint.pcb.use_sack = 1
        for start in range(2000, 12_000, 2000):
            endpoint.receive(start, f"{start}:{start + 1000} ack 0")
        assert self.blocks(endpoint, 1) == [(10_000, 11_000), (8000, 9000), (6000, 7000)]

    def test_there_are_none_when_nothing_is_missing(self) -> None:
        endpoint = Endpoint()
        endpoint.pcb.use_sack = 1
        endpoint.receive(1, "1000:2000 ack 0")
        endpoint.receive(2, "0:1000 ack 0")
        assert self.blocks(endpoint, 2) == []

    def test_a_peer_that_did_not_permit_it_gets_none(self) -> None:
        endpoint = Endpoint()
        endpoint.receive(1, "1000:2000 ack 0")
        assert self.blocks(endpoint, 1) == []


@pytest.mark.parametrize("sack", [0, 1])
def test_a_single_loss_costs_one_retransmission(sack: int) -> None:
    endpoint = Endpoint(cwnd=10_000)
    endpoint.pcb.use_sack = sack
    endpoint.write(10_000)
    endpoint.output(0)
    for last in range(2000, 11_000, 1000):
        acknowledge(endpoint, last, 0, *([(1000, last)] if sack else []))
        endpoint.output(last)
    acknowledge(endpoint, 12_000, 10_000)
    assert endpoint.pcb.retransmitted_segments == 1
    assert endpoint.pcb.snd_una == endpoint.pcb.snd_max
