"""PRR, undo and window validation against the formulas of RFC 9937, RFC 4015 and RFC 9438, and against traces worked out by hand.

Segments are of 1,000 bytes.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.tcp.cubic import cubic_increase, cubic_pause
from netstack.tcp.header import ACK, ECE, SEGMENT
from netstack.tcp.pcb import CUBIC
from netstack.tcp.prr import shrink_window
from netstack.tcp.scoreboard import SCOREBOARD, CongestionState
from tests.helpers.packet_trace import MODULUS, Endpoint, new_pcb, record

MSS = 1000


class Sender(Endpoint):
    """An end that remembers its transmissions, with time stamps in us."""

    def __init__(self, cwnd_segments: int, *, sack: bool = True, mss: int = MSS, send_window: int = 1 << 22) -> None:
        super().__init__(mss=mss, send_window=send_window, cwnd=cwnd_segments * mss)
        self.board: Any = record(SCOREBOARD)
        self.board.use_rack = self.board.use_dsack = 1
        self.pcb.scoreboard_address = self.board.__array_interface__["data"][0]
        self.pcb.use_sack = int(sack)
        self.pcb.initial_segments = 10
        self.mss = mss

    def ack(self, at: int, segments: int, *blocks: tuple[int, int], ecr: int = 0, flags: int = 0) -> list[int]:
        """An ACK of so many segments that reports blocks of segments; return the numbers of the segments that leave then."""
        segment = record(SEGMENT)
        segment.flags, segment.seq, segment.ack = ACK | flags, self.irs, (self.iss + segments * self.mss) % MODULUS
        segment.window = self.window >> int(self.pcb.snd_scale)
        segment.has_timestamps, segment.ts_val, segment.ts_ecr = 1, at, ecr
        segment.sack_count = len(blocks)
        for index, (start, end) in enumerate(blocks):
            segment.sack_start[index] = (self.iss + start * self.mss) % MODULUS
            segment.sack_end[index] = (self.iss + end * self.mss) % MODULUS
        self.receive_segment(at, segment)
        return self.leave(at)

    def leave(self, at: int) -> list[int]:
        return [((int(segment.seq) - self.iss) % MODULUS) // self.mss for segment in self.output(at) if segment.length]

    def lose_first(self, segments: int, at: int = 100) -> None:
        """Send so many segments at 0, of which all but the first arrive at once later."""
        self.write(10 * segments * self.mss)
        assert self.leave(1) == list(range(segments))
        assert self.ack(at, 0, (1, 4))[0] == 0
        assert self.board.congestion_state == CongestionState.RECOVERY

    @property
    def windows(self) -> tuple[int, int]:
        return int(self.pcb.snd_cwnd) // self.mss, int(self.pcb.snd_ssthresh) // self.mss


class TestProportionalRateReduction:
    """RFC 9937, section 6.2."""

    def test_one_of_twenty_is_lost(self) -> None:
        """A segment leaves for every second one that arrives; the reference of RFC 6937, figure 1, has the same pattern."""
        sender = Sender(20)
        sender.write(60 * MSS)
        assert sender.leave(1) == list(range(20))
        sent = [sender.ack(100 + number, 0, (1, 1 + number)) for number in range(1, 20)]
        assert sent[:3] == [[20], [21], [0]]  # limited transmit twice, then the retransmission
        assert [len(segments) for segments in sent[3:]] == [0, 1] * 7 + [0, 0]
        assert sender.board.flight_segments == 10  # the threshold, in 19 ACKs and without a pause
        assert sender.windows == (10, 10)
        sender.ack(200, 22)
        assert sender.windows[0] == 10
        assert sender.board.congestion_state == CongestionState.OPEN

    @settings(deadline=None, max_examples=300)
    @given(
        st.integers(2, 200),
        st.integers(50, 90),
        st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.booleans()), min_size=1, max_size=60),
    )
    def test_what_may_be_sent_is_bounded(self, window: int, percent: int, acks: list[tuple[int, int, bool]]) -> None:
        """What is in flight falls in proportion above the threshold, and never grows beyond it.

        Below it no more than was delivered is sent, but for one segment for each ACK that is safe.
        """
        (pcb, _), board = new_pcb(), record(SCOREBOARD)
        threshold = max(window * percent // 100, 2)
        pcb.mss, pcb.snd_ssthresh, pcb.snd_cwnd = MSS, threshold * MSS, window * MSS
        board.prr_flight = window
        flight, delivered_all, sent_all, safe_all, lost_all = window, 0, 0, 0, 0
        for delivered, lost, advances in acks:
            delivered, lost = min(delivered, flight), min(lost, flight - min(delivered, flight))
            flight -= delivered + lost
            lost_all += lost
            delivered_all += delivered
            board.flight_segments, board.advanced = flight, int(advances)
            before = int(pcb.snd_cwnd)
            shrink_window(pcb, board, delivered, lost)
            allowed = int(pcb.snd_cwnd) // MSS - flight
            if delivered == 0:
                assert pcb.snd_cwnd == before  # an ACK of nothing changes nothing
                continue
            assert allowed >= 0
            if flight > threshold:
                assert sent_all + allowed <= max(-(-delivered_all * threshold // window), sent_all, 1)
            else:
                safe_all += int(advances and lost == 0)
                assert flight + allowed <= max(threshold, flight + 1)
                assert sent_all + allowed <= delivered_all + safe_all + 1
            flight += allowed
            sent_all += allowed
            board.prr_out = sent_all

    def test_a_loss_of_nearly_all_begins_again_as_slow_start_does(self) -> None:
        """Sixteen of twenty are lost: each ACK of something new lets two go, up to the threshold."""
        sender = Sender(20)
        sender.write(60 * MSS)
        sender.leave(1)
        assert sender.ack(100, 0, (16, 20)) == [0, 1, 2, 3]
        assert sender.ack(200, 1, (16, 20)) == [4, 5]
        assert sender.ack(210, 2, (16, 20)) == [6, 7]
        assert sender.windows[0] <= 10


class TestUndo:
    """RFC 4015, section 3.2: the window and the threshold of before; RFC 3708 and RFC 3522: how it is known."""

    @pytest.mark.parametrize("segments", [4, 10, 30])
    def test_a_report_of_the_duplicate_restores_both(self, segments: int) -> None:
        sender = Sender(segments)
        before = sender.windows[1]
        sender.lose_first(segments)
        assert sender.windows[1] == max(segments // 2, 2)
        sender.ack(200, segments, (0, 1), ecr=150)
        assert sender.windows[0] >= segments
        assert sender.windows[1] == before

    def test_w_max_of_cubic_is_restored(self) -> None:
        """RFC 9438, section 4.9.1."""
        sender = Sender(30)
        sender.pcb.congestion, sender.cold.cubic_max_bytes = CUBIC, 50 * MSS
        sender.lose_first(30)
        assert sender.cold.cubic_max_bytes == 30 * MSS * 85 // 100
        sender.ack(200, 30, (0, 1), ecr=150)
        assert sender.cold.cubic_max_bytes == 50 * MSS

    def test_a_mark_of_the_network_forbids_it(self) -> None:
        """RFC 4015, section 3.2, step 2: the reduction is due, whatever was late."""
        sender = Sender(10)
        sender.pcb.use_ecn = 1
        sender.lose_first(10)
        sender.ack(150, 0, (1, 5), flags=ECE)
        sender.ack(200, 10, (0, 1), ecr=150)
        assert sender.windows[1] == 5

    def test_a_second_loss_in_the_recovery_forbids_it(self) -> None:
        """Two segments were sent again, and one of them came twice."""
        sender = Sender(10)
        sender.lose_first(10)
        sender.ack(150, 0, (5, 9), (1, 4))
        sender.ack(200, 10, (0, 1), ecr=160)
        assert sender.board.undo_repeats == 1
        assert sender.windows[1] == 5

    def test_the_marker_is_valid_after_any_amount_of_data(self) -> None:
        """Three gigabytes later its number would compare as one ahead; a report of a duplicate of then is still one."""
        segment = 1 << 24
        sender = Sender(10, mss=segment, send_window=1 << 29)
        sender.lose_first(10)
        sender.ack(200, 10, ecr=150)
        for at in range(300, 500):
            sender.write(segment)
            sender.leave(at)
            sent = (int(sender.pcb.snd_max) - sender.iss) % MODULUS // segment
            sender.ack(at, sent, ecr=at)
        assert sender.pcb.segments_sent > 200
        distance = (int(sender.pcb.snd_una) - int(sender.board.undo_marker)) % MODULUS
        assert distance <= 1 << 30


class TestCubicPause:
    """RFC 9438, sections 4.2 and 5.8: t is without the time in which the application was the limit."""

    @pytest.mark.parametrize("pause_us", [1, 1_000_000, 3_600_000_000])
    def test_the_window_goes_on_where_it_was(self, pause_us: int) -> None:
        windows = []
        for pause in (0, pause_us):
            pcb, cold = new_pcb()
            pcb.congestion, pcb.mss, pcb.srtt_us = CUBIC, MSS, 100_000
            pcb.snd_cwnd, cold.cubic_max_bytes = 70 * MSS, 100 * MSS
            now = 1_000_000
            for number in range(30):
                if number == 10:
                    now += pause
                    cubic_pause(pcb, now)
                pcb.snd_cwnd += cubic_increase(pcb, int(pcb.snd_cwnd), now)
                now += 100_000
            windows.append(int(pcb.snd_cwnd))
        assert windows[0] == windows[1]


def test_the_timeout_is_a_round_trip_and_the_least_time() -> None:
    """As in Linux: with a round trip of 300 us that never varies it is 200 ms and a little, not 200 ms."""
    sender = Sender(10)
    for number in range(40):
        sender.write(MSS)
        sender.leave(1000 * number + 1)
        sender.ack(1000 * number + 301, number + 1, ecr=1000 * number + 1)
    assert sender.pcb.rto_us == 200_300
