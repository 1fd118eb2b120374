"""Segment output as packet traces from RFC 9293, sections 3.7.4, 3.8.4 and 3.8.6, and what happens when the interface is full."""

import pytest

from netstack.tcp.connection import tcp_abort
from netstack.tcp.header import ACK, PSH, RST, SEGMENT
from netstack.tcp.output import tcp_output
from tests.helpers.packet_trace import FOREIGN, IRS, ISS, LOCAL, Endpoint, record

SECOND = 1_000_000


class TestSegmentation:
    """RFC 9293, sections 3.7.1 and 3.8.6.2.1."""

    def test_full_segments_and_the_rest(self) -> None:
        endpoint = Endpoint()
        endpoint.write(2500)
        endpoint.sends(0, "0:1000 ack 0", "1000:2000 ack 0")
        endpoint.receive(100, "ack 2000")
        endpoint.sends(100, "2000:2500 ack 0")

    def test_fields(self) -> None:
        """Everything that the header needs; PSH on the segment that empties the buffer (section 3.9.1.2)."""
        endpoint = Endpoint(receive_buffer=262_144)
        endpoint.pcb.ts_recent = 77
        endpoint.write(2000)
        first, last = endpoint.output((1 << 32) + 5)
        assert (first.source_address, first.source_port) == LOCAL
        assert (first.destination_address, first.destination_port) == FOREIGN
        assert (first.seq, first.ack, first.length) == (ISS, IRS, 1000)
        assert (first.flags, last.flags) == (ACK, ACK | PSH)
        assert first.window == 262_144 >> 3
        assert (first.has_timestamps, first.ts_val, first.ts_ecr) == (1, 5, 77)
        assert (first.mss, first.wscale) == (0, -1)

    @pytest.mark.parametrize(("mss", "timestamps"), [(1000, 1), (1000, 0), (48, 0), (36, 1), (16, 1), (5, 0)])
    def test_sack_blocks_leave_less_room_for_payload(self, mss: int, timestamps: int) -> None:
        """RFC 6691, section 2: the sender takes off the options of each segment; all of the stream is sent nevertheless."""
        endpoint = Endpoint(mss=mss, cwnd=64_000)
        endpoint.pcb.use_sack, endpoint.pcb.use_timestamps, endpoint.pcb.no_delay = 1, timestamps, 1
        for start in range(2000, 10_000, 2000):
            endpoint.receive(start, f"{start}:{start + 1000} ack 0")
        endpoint.write(3000)
        end = ISS
        for segment in endpoint.output(10_000):
            options = 4 + 8 * int(segment.sack_count) if segment.sack_count else 0
            assert options + segment.length <= mss
            assert segment.sack_count == min(4 - timestamps, max((mss - 5) // 8, 0))
            assert segment.seq == end % (1 << 32)
            end += int(segment.length)
        assert end == ISS + 3000

    def test_a_record_that_was_used_before_is_filled_anew(self) -> None:
        """The host hands in the same record for every segment."""
        endpoint = Endpoint()
        endpoint.write(1000)
        fresh = endpoint.output(5)[0]
        used = record(SEGMENT)
        for name in fresh.dtype.names:
            used[name] = 99
        endpoint.expire(endpoint.deadline)
        assert tcp_output(endpoint.pcb, used, 5)
        used.checksum = 0
        used.sack_start[:], used.sack_end[:] = 0, 0  # of no meaning without a count
        assert str(used.tolist()) == str(fresh.tolist())

    def test_a_retransmission_of_the_last_segment_pushes_again(self) -> None:
        endpoint = Endpoint()
        endpoint.write(1000)
        endpoint.output(0)
        endpoint.expire(SECOND)
        assert endpoint.output(SECOND)[0].flags == ACK | PSH

    def test_the_whole_receive_buffer_is_offered(self) -> None:
        """RFC 7323, section 2.3: all of it but what the shift cuts off, never more."""
        for receive_buffer in (65_535, 65_537, 131_071, 1 << 20, 65_535 << 14):
            endpoint = Endpoint(receive_buffer=receive_buffer)
            endpoint.write(1)
            window = int(endpoint.output(0)[0].window) << int(endpoint.pcb.rcv_scale)
            assert receive_buffer - (1 << int(endpoint.pcb.rcv_scale)) < window <= receive_buffer


class TestWindow:
    """RFC 9293, sections 3.8.4 and 3.8.6: no byte beyond the window that was offered, or that congestion allows."""

    @pytest.mark.parametrize(("offered", "cwnd"), [(3000, 9000), (9000, 3000)])
    def test_the_smaller_one_counts(self, offered: int, cwnd: int) -> None:
        endpoint = Endpoint(send_window=offered, cwnd=cwnd)
        endpoint.write(9000)
        endpoint.sends(0, "0:1000 ack 0", "1000:2000 ack 0", "2000:3000 ack 0")

    def test_a_rest_of_the_window_is_not_worth_a_segment(self) -> None:
        """Section 3.8.6.2.1: a sender avoids small segments; the rest is sent with the window that the next ACK opens."""
        endpoint = Endpoint(send_window=2600)
        endpoint.write(9000)
        endpoint.sends(0, "0:1000 ack 0", "1000:2000 ack 0")
        endpoint.receive(100, "ack 1000")
        endpoint.sends(100, "2000:3000 ack 0")

    def test_of_less_than_a_segment(self) -> None:
        """Section 3.8.6.2.1, rule 3: half of the largest window seen is enough, once nothing is outstanding.

        A receiver whose whole buffer is smaller than a segment would otherwise get nothing.
        """
        endpoint = Endpoint(send_window=600)
        endpoint.write(1500)
        endpoint.sends(0, "0:600 ack 0")
        endpoint.receive(100, "ack 600")
        endpoint.sends(100, "600:1200 ack 0")
        endpoint.receive(200, "ack 1200 win 300")
        endpoint.sends(200, "1200:1500 ack 0")

    def test_of_less_than_half_the_largest_is_not_used_at_once(self) -> None:
        endpoint = Endpoint(send_window=1900)
        endpoint.write(5000)
        endpoint.sends(0, "0:1000 ack 0")
        endpoint.receive(100, "ack 1000 win 949")
        endpoint.sends(100)
        endpoint.receive(200, "ack 1000 win 950")
        endpoint.sends(200, "1000:1950 ack 0")

    def test_the_largest_may_come_later(self) -> None:
        endpoint = Endpoint(send_window=1000)
        endpoint.receive(0, "ack 0 win 1400")
        endpoint.receive(0, "ack 0 win 600")
        endpoint.write(5000)
        endpoint.sends(0)
        endpoint.receive(100, "ack 0 win 700")
        endpoint.sends(100, "0:700 ack 0")

    def test_a_smaller_one_does_not_call_back_what_was_sent(self) -> None:
        endpoint = Endpoint(cwnd=8000)
        endpoint.write(9000)
        endpoint.output(0)
        endpoint.receive(100, "ack 1000 win 2000")
        endpoint.sends(100)
        endpoint.receive(200, "ack 7000 win 2000")
        endpoint.sends(200, "8000:9000 ack 0")

    def test_what_the_shift_cuts_off_does_not_add_up(self) -> None:
        """The announced end of the window goes back by less than one unit, whatever arrives (RFC 7323, section 2.4)."""
        endpoint = Endpoint(receive_buffer=1 << 20)
        unit = 1 << int(endpoint.pcb.rcv_scale)
        furthest = 0
        for start in range(0, 50_000, 999):
            endpoint.receive(start, f"{start}:{start + 999} ack 0")
            endpoint.pcb.rcv_wnd -= endpoint.pcb.delivered_bytes
            for segment in endpoint.output(start):
                end = start + 999 + (int(segment.window) << int(endpoint.pcb.rcv_scale))
                assert end > furthest - unit
                furthest = max(furthest, end)
        assert furthest > 0


class TestNagle:
    """RFC 9293, section 3.7.4: a small segment waits until all that was sent is acknowledged."""

    def test_the_first_small_segment_leaves_at_once(self) -> None:
        endpoint = Endpoint()
        endpoint.write(10)
        endpoint.sends(0, "0:10 ack 0")

    def test_the_next_ones_are_gathered(self) -> None:
        endpoint = Endpoint()
        for _ in range(5):
            endpoint.write(10)
            endpoint.output(0)
        assert endpoint.pcb.segments_sent == 1
        endpoint.receive(100, "ack 10")
        endpoint.sends(100, "10:50 ack 0")

    def test_until_they_fill_a_segment(self) -> None:
        endpoint = Endpoint()
        endpoint.write(10)
        endpoint.output(0)
        endpoint.write(999)
        endpoint.sends(1)
        endpoint.write(1)
        endpoint.sends(2, "10:1010 ack 0")

    def test_a_small_segment_is_retransmitted_though_data_is_outstanding(self) -> None:
        endpoint = Endpoint()
        endpoint.write(1000)
        endpoint.output(0)
        endpoint.write(1300)
        endpoint.sends(1, "1000:2000 ack 0")
        endpoint.receive(2, "ack 1000")
        endpoint.receive(3, "ack 2000")
        endpoint.sends(3, "2000:2300 ack 0")
        endpoint.expire(endpoint.deadline)
        endpoint.sends(SECOND, "2000:2300 ack 0")


class TestAcknowledgment:
    def test_is_sent_once(self) -> None:
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.receive(10, "0:1000 ack 0")
        endpoint.sends(10, "ack 1000")
        endpoint.write(0)
        endpoint.sends(20)

    def test_rides_on_data_instead_of_leaving_alone(self) -> None:
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.write(100)
        endpoint.receive(10, "0:1000 ack 0")
        endpoint.sends(10, "0:100 ack 1000")

    def test_has_the_next_number_while_older_ones_are_sent_again(self) -> None:
        """RFC 9293, section 3.10.7.4: <SEQ=SND.NXT>, the next number to be sent. One from the middle of what the peer
        already has would be unacceptable there.
        """
        endpoint = Endpoint()
        endpoint.write(4000)
        endpoint.output(0)
        endpoint.expire(SECOND)
        endpoint.sends(SECOND, "0:1000 ack 0")
        endpoint.receive(SECOND + 1, "1000:2000 ack 0")
        endpoint.sends(SECOND + 1, "4000:4000 ack 0")

    def test_counts_as_no_segment(self) -> None:
        """`segments_sent` are segments with data, and only those push."""
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.receive(10, "0:1000 ack 0")
        assert [segment.flags for segment in endpoint.output(10)] == [ACK]
        assert endpoint.pcb.segments_sent == 0


class TestRefused:
    """The interface takes no segment: as FreeBSD of 2006 did, TCP takes it back and restarts with one segment."""

    def test_new_data_was_never_sent(self) -> None:
        endpoint = Endpoint()
        endpoint.write(5000)
        endpoint.sends(0, *[f"{start}:{start + 1000} ack 0" for start in range(0, 4000, 1000)])
        endpoint.receive(100, "ack 1000")
        assert endpoint.refuse(100) == "4000:5000 ack 0"
        assert (endpoint.pcb.segments_sent, endpoint.pcb.retransmitted_segments) == (4, 0)
        assert endpoint.pcb.snd_cwnd == 1000
        endpoint.receive(200, "ack 5000")  # never sent
        assert endpoint.pcb.acked_bytes == 0
        endpoint.output(200)
        endpoint.receive(300, "ack 4000")
        endpoint.sends(300, "4000:5000 ack 0")
        assert (endpoint.pcb.segments_sent, endpoint.pcb.retransmitted_segments) == (5, 0)

    def test_the_first_segment_is_sent_by_the_timer(self) -> None:
        """Nothing else would call: no ACK is on its way."""
        endpoint = Endpoint()
        endpoint.write(1000)
        endpoint.refuse(10)
        assert endpoint.deadline == 10 + SECOND
        endpoint.expire(10 + SECOND)
        endpoint.sends(10 + SECOND, "0:1000 ack 0")
        assert (endpoint.pcb.segments_sent, endpoint.pcb.retransmitted_segments) == (1, 0)
        assert endpoint.pcb.retransmission_timeouts == 1

    def test_a_retransmission(self) -> None:
        endpoint = Endpoint()
        endpoint.write(4000)
        endpoint.output(0)
        endpoint.expire(SECOND)
        endpoint.refuse(SECOND)
        assert (endpoint.pcb.segments_sent, endpoint.pcb.retransmitted_segments) == (4, 0)
        endpoint.expire(3 * SECOND)
        endpoint.sends(3 * SECOND, "0:1000 ack 0")
        assert (endpoint.pcb.segments_sent, endpoint.pcb.retransmitted_segments) == (5, 1)

    def test_a_retransmission_that_new_data_filled_up(self) -> None:
        """A small segment was lost and more was written: what is taken back is partly old, partly new."""
        endpoint = Endpoint()
        endpoint.write(300)
        endpoint.sends(0, "0:300 ack 0")
        endpoint.write(500)
        endpoint.expire(SECOND)
        assert endpoint.refuse(SECOND) == "0:800 ack 0"
        endpoint.receive(SECOND + 1, "ack 800")  # 300 were sent
        assert endpoint.pcb.acked_bytes == 0
        endpoint.receive(SECOND + 2, "ack 300")
        assert endpoint.pcb.acked_bytes == 300
        endpoint.sends(SECOND + 2, "300:800 ack 0")
        assert (endpoint.pcb.segments_sent, endpoint.pcb.retransmitted_segments) == (2, 0)

    def test_an_acknowledgment_is_due_again(self) -> None:
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.receive(10, "0:1000 ack 0")
        assert endpoint.refuse(10) == "0:0 ack 1000"
        endpoint.write(0)
        endpoint.sends(20, "ack 1000")


def test_an_abort_has_the_number_behind_all_that_was_sent() -> None:
    """Though older data is being sent again: the peer may have all of it and heeds no other number (RFC 9293, 3.10.7.4)."""
    endpoint = Endpoint()
    endpoint.write(3000)
    endpoint.sends(0, "0:1000 ack 0", "1000:2000 ack 0", "2000:3000 ack 0")
    endpoint.expire(SECOND)
    endpoint.sends(SECOND, "0:1000 ack 0")
    reset = record(SEGMENT)
    assert tcp_abort(endpoint.pcb, reset, 0)
    assert (reset.seq, reset.ack) == ((ISS + 3000) % (1 << 32), IRS)
    assert reset.flags == RST | ACK


class TestClosedWindow:
    """RFC 9293, section 3.8.6.1: a window that stays closed is probed, so that a lost update does not stop the connection."""

    def test_is_probed_with_back_off(self) -> None:
        """MUST-36, SHLD-29 and SHLD-30: the first probe after one RTO, then after twice that time and so on."""
        endpoint = Endpoint(min_rto_us=SECOND)
        endpoint.write(3000)
        endpoint.sends(0, "0:1000 ack 0", "1000:2000 ack 0", "2000:3000 ack 0")
        endpoint.write(2000)
        endpoint.receive(100, "ack 3000 win 0 val 1 ecr 0")
        endpoint.sends(100)
        window = endpoint.pcb.snd_cwnd
        at, waits = 100, []
        for _ in range(5):
            waits.append(endpoint.deadline - at)
            at = endpoint.deadline
            endpoint.expire(at)
            endpoint.sends(at, "3000:3001 ack 0")
            endpoint.receive(at, "ack 3000 win 0 val 1 ecr 0")
            endpoint.sends(at)
        assert waits == [SECOND << shift for shift in range(5)]
        assert endpoint.pcb.snd_cwnd == window  # a closed window is no congestion
        endpoint.receive(at, "ack 3000 win 64000")
        endpoint.sends(at, "3000:4000 ack 0", "4000:5000 ack 0")

    def test_opens_with_the_answer_to_a_probe(self) -> None:
        endpoint = Endpoint(min_rto_us=SECOND)
        endpoint.receive(0, "ack 0 win 0")
        endpoint.write(2001)
        endpoint.sends(0)
        endpoint.expire(SECOND)
        endpoint.sends(SECOND, "0:1 ack 0")
        endpoint.receive(SECOND + 100, "ack 1 win 64000")
        endpoint.sends(SECOND + 100, "1:1001 ack 0", "1001:2001 ack 0")

    def test_gives_a_whole_timeout_to_what_is_sent_when_it_opens(self) -> None:
        """RFC 6298, 5.1: the timer starts with the data; what ran before was the wait for the next probe."""
        endpoint = Endpoint(min_rto_us=SECOND)
        endpoint.receive(0, "ack 0 win 0")
        endpoint.write(2000)
        endpoint.sends(0)
        endpoint.receive(900_000, "ack 0 win 64000")
        endpoint.sends(900_000, "0:1000 ack 0", "1000:2000 ack 0")
        assert endpoint.deadline == 900_000 + SECOND

    def test_is_probed_where_data_is_outstanding(self) -> None:
        """MUST-35: the peer took its window back and lost what was under way; its ACKs of probes are no duplicates."""
        endpoint = Endpoint(min_rto_us=SECOND)
        endpoint.write(2000)
        endpoint.output(0)
        endpoint.receive(100, "ack 0 win 0")
        for number in range(1, 5):
            at = endpoint.deadline
            endpoint.expire(at)
            assert len(endpoint.output(at)) == 1, number
            endpoint.receive(at, "ack 0 win 0")
            endpoint.sends(at)

    def test_a_small_window_is_used_after_a_while(self) -> None:
        """Section 3.8.6.2.1, rule 4: the timeout overrides the avoidance of small segments."""
        endpoint = Endpoint(min_rto_us=SECOND)
        endpoint.receive(0, "ack 0 win 100")
        endpoint.write(3000)
        endpoint.sends(0)
        endpoint.expire(SECOND)
        endpoint.sends(SECOND, "0:100 ack 0")
        assert (endpoint.pcb.snd_cwnd, endpoint.pcb.retransmission_timeouts) == (4000, 0)
