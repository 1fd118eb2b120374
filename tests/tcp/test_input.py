"""Segment input as packet traces: RFC 9293, section 3.10.7.4; RFC 5681, section 4.2; RFC 7323. Reassembly against a set."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.tcp.flags import TCP_ACKED, TCP_DELAYED_ACK, TCP_DELIVERED, TCP_OUTPUT
from netstack.tcp.header import ACK, SEGMENT, SYN
from netstack.tcp.pcb import MAX_REORDERED, window_scale
from netstack.tcp.style import FREEBSD, LINUX, RFC
from tests.helpers.packet_trace import MODULUS, Endpoint, record


class TestData:
    """RFC 9293, section 3.10.7.4, first and seventh step; RFC 5681, section 4.2."""

    def test_in_order(self) -> None:
        endpoint = Endpoint()
        endpoint.receive(10, "0:1000 ack 0")
        assert endpoint.flags == TCP_DELIVERED | TCP_DELAYED_ACK
        assert endpoint.pcb.delivered_bytes == 1000
        endpoint.receive(20, "1000:1500 ack 0")
        assert endpoint.flags == TCP_DELIVERED | TCP_OUTPUT
        assert endpoint.pcb.delivered_bytes == 500
        endpoint.sends(20, "ack 1500")

    def test_a_duplicate_is_acknowledged_at_once(self) -> None:
        """An unacceptable segment is answered with an ACK, and delivers nothing."""
        endpoint = Endpoint()
        endpoint.receive(10, "0:1000 ack 0")
        endpoint.receive(10, "1000:2000 ack 0")
        endpoint.sends(10, "ack 2000")
        for start in (0, 1000):
            endpoint.receive(20, f"{start}:{start + 1000} ack 0")
            assert endpoint.flags == TCP_OUTPUT
            assert endpoint.pcb.delivered_bytes == 0
            endpoint.sends(20, "ack 2000")

    def test_an_overlap_delivers_what_is_new(self) -> None:
        endpoint = Endpoint()
        endpoint.receive(10, "0:1000 ack 0")
        endpoint.receive(20, "600:1600 ack 0")
        assert endpoint.pcb.delivered_bytes == 600
        endpoint.sends(20, "ack 1600")

    def test_a_gap_is_answered_by_a_duplicate_acknowledgment_for_each_segment(self) -> None:
        endpoint = Endpoint()
        endpoint.receive(10, "0:1000 ack 0")
        for number in range(2, 5):
            endpoint.receive(20 + number, f"{1000 * number}:{1000 * number + 1000} ack 0")
            endpoint.sends(20 + number, "ack 1000")
            assert endpoint.pcb.delivered_bytes == 0
        endpoint.receive(50, "1000:2000 ack 0")  # fills the gap: acknowledged at once
        assert endpoint.pcb.delivered_bytes == 4000
        endpoint.sends(50, "ack 5000")

    def test_filling_a_part_of_a_gap_is_acknowledged_at_once(self) -> None:
        endpoint = Endpoint()
        endpoint.receive(10, "2000:3000 ack 0")
        endpoint.sends(10, "ack 0")
        endpoint.receive(20, "0:1000 ack 0")
        endpoint.sends(20, "ack 1000")
        assert endpoint.pcb.delivered_bytes == 1000

    def test_beyond_the_window_is_refused(self) -> None:
        endpoint = Endpoint(receive_buffer=4000)
        endpoint.receive(10, "4000:5000 ack 0")
        assert endpoint.pcb.reordered_count == 0
        endpoint.sends(10, "ack 0")
        endpoint.receive(20, "0:4000 ack 0")
        assert endpoint.pcb.delivered_bytes == 4000

    def test_the_part_beyond_the_window_is_cut_off(self) -> None:
        """First step: segments are tailored to the window; its owner has no buffer for more."""
        endpoint = Endpoint(receive_buffer=4000)
        endpoint.receive(10, "0:4700 ack 0")
        assert endpoint.pcb.delivered_bytes == 4000
        endpoint = Endpoint(receive_buffer=4000)
        endpoint.receive(10, "3000:4700 ack 0")
        endpoint.receive(20, "0:3000 ack 0")
        assert endpoint.pcb.delivered_bytes == 4000

    @pytest.mark.parametrize("probe", ["3968:3969", "3968:4000", "3968:4968"])
    def test_room_that_is_not_announced_takes_none(self, probe: str) -> None:
        """Windows come in steps of 128 bytes: 32 bytes of the buffer are free, and cannot be announced. A probe must not fill
        them, or the peer goes on byte by byte (RFC 9293, section 3.8.6.2: the silly window syndrome).
        """
        endpoint = Endpoint(receive_buffer=4000)
        endpoint.pcb.rcv_scale = 7
        endpoint.pcb.rcv_adv = endpoint.irs + 3968
        endpoint.receive(10, "0:3968 ack 0")
        endpoint.pcb.rcv_wnd = 32
        endpoint.sends(10, "ack 3968 win 0")
        endpoint.receive(20, f"{probe} ack 0")
        assert (endpoint.pcb.delivered_bytes, endpoint.pcb.accepted_bytes) == (0, 0)
        endpoint.sends(20, "ack 3968 win 0")

    def test_a_probe_takes_none_of_what_the_scale_cuts_off(self) -> None:
        """4,000 bytes were announced in a SYN, without scale, and 32 are left: less than a step. Data that was under way fits."""
        endpoint = Endpoint(receive_buffer=4000, delayed_ack_us=0)
        endpoint.pcb.rcv_scale = 7
        endpoint.receive(10, "0:3968 ack 0")
        endpoint.pcb.rcv_wnd = 32
        endpoint.sends(10, "ack 3968 win 0")
        endpoint.receive(20, "3968:3969 ack 0")
        endpoint.sends(20, "ack 3968 win 0")
        endpoint.receive(30, "3968:3978 ack 0")
        endpoint.sends(30, "ack 3978 win 0")
        endpoint.receive(40, "3978:4978 ack 0")
        endpoint.sends(40, "ack 4000 win 0")
        endpoint.pcb.rcv_wnd = 4000
        endpoint.receive(50, "4000:4001 ack 0")  # the application has read
        endpoint.sends(50, "ack 4000 win 3968")

    def test_a_window_that_grew_too_little_to_be_announced_is_the_old_one(self) -> None:
        """2,000 of 8,000 bytes were announced, the application has read 999: less than a segment."""
        endpoint = Endpoint(receive_buffer=8000)
        endpoint.receive(10, "0:6000 ack 0")
        endpoint.pcb.rcv_wnd = 2999
        endpoint.sends(10, "ack 6000 win 2000")
        endpoint.receive(20, "6000:9000 ack 0")
        assert endpoint.pcb.delivered_bytes == 2000

    def test_one_range_too_many_is_forgotten(self) -> None:
        """A receiver may drop what it has no place for (RFC 9293, section 3.10.7.4, says "should be held"): it is sent again."""
        endpoint = Endpoint()
        for number in range(MAX_REORDERED + 1):
            endpoint.receive(10, f"{2000 * number + 1000}:{2000 * number + 2000} ack 0")
        assert endpoint.pcb.reordered_count == MAX_REORDERED
        for number in range(MAX_REORDERED):
            endpoint.receive(20, f"{2000 * number}:{2000 * number + 1000} ack 0")
            assert endpoint.pcb.delivered_bytes == 2000
        endpoint.receive(20, f"{2000 * MAX_REORDERED}:{2000 * MAX_REORDERED + 1000} ack 0")
        assert endpoint.pcb.delivered_bytes == 1000

    def test_across_the_wrap(self) -> None:
        """Section 3.4: the receiver's numbers wrap at 2,500 in every trace here."""
        endpoint = Endpoint()
        endpoint.receive(10, "3000:4000 ack 0")
        endpoint.receive(10, "2000:3000 ack 0")
        endpoint.receive(10, "0:2000 ack 0")
        assert endpoint.pcb.delivered_bytes == 4000
        assert endpoint.pcb.rcv_nxt == 1500
        endpoint.sends(10, "ack 4000")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 3) | st.integers(1, 12)), min_size=1, max_size=40),
    st.sampled_from([0, (1 << 32) - 20, (1 << 31) - 20]),
)
def test_reassembly_is_that_of_a_set_of_bytes(segments: list[tuple[int, int]], irs: int) -> None:
    """RFC 9293, section 3.10.7.4: bytes inside the window that was announced are kept, in any order and overlap.

    The set remembers single bytes. A segment that would leave more separate runs than the receiver has places is forgotten.
    """
    endpoint = Endpoint(irs=irs, receive_buffer=24)
    ahead: set[int] = set()
    delivered, window_end = 0, 24
    for start, length in segments:
        endpoint.receive(1, f"{start}:{start + length} ack 0")
        wanted = ahead | set(range(max(start, delivered), min(start + length, window_end)))
        if delivered in wanted or sum(byte - 1 not in wanted for byte in wanted) <= MAX_REORDERED:
            ahead = wanted
        before = delivered
        while delivered in ahead:
            ahead.remove(delivered)
            delivered += 1
        assert endpoint.pcb.delivered_bytes == delivered - before
        assert (endpoint.pcb.rcv_nxt - irs) % (1 << 32) == delivered
        count = endpoint.pcb.reordered_count
        assert count == sum(byte - 1 not in ahead for byte in ahead)
        runs = zip(endpoint.cold.reordered_start[:count], endpoint.cold.reordered_end[:count], strict=True)
        held = [byte for first, last in runs for byte in range((first - irs) % (1 << 32), (last - irs) % (1 << 32))]
        assert sorted(held) == sorted(ahead)
        for segment in endpoint.output(1):
            window_end = max(window_end, (int(segment.ack) - irs) % (1 << 32) + int(segment.window))


class TestTimeStamps:
    """RFC 7323, sections 4.3 (which time stamp to echo) and 5.3 (PAWS)."""

    def test_the_earliest_unacknowledged_segment_is_echoed(self) -> None:
        """4.3 (A): a delayed ACK includes the delay in the round trip."""
        endpoint = Endpoint()
        endpoint.receive(10, "0:1000 ack 0 val 500 ecr 0")
        endpoint.receive(20, "1000:2000 ack 0 val 510 ecr 0")
        endpoint.sends(20, "ack 2000 val 20 ecr 500")

    def test_a_segment_behind_a_gap_is_not_echoed(self) -> None:
        """4.3 (B) and (C): the last segment that advanced the window, then the one that fills the gap."""
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.receive(10, "0:1000 ack 0 val 500 ecr 0")
        endpoint.sends(10, "ack 1000 val 10 ecr 500")
        endpoint.receive(20, "2000:3000 ack 0 val 510 ecr 0")
        endpoint.sends(20, "ack 1000 val 20 ecr 500")
        endpoint.receive(30, "1000:2000 ack 0 val 505 ecr 0")
        endpoint.sends(30, "ack 3000 val 30 ecr 505")

    def test_old_data_is_dropped_and_acknowledged(self) -> None:
        """5.3, R1: the number is inside the window, but it is one of 4 GB before."""
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.receive(10, "0:1000 ack 0 val 500 ecr 0")
        endpoint.output(10)
        endpoint.receive(20, "1000:2000 ack 0 val 499 ecr 0")
        assert endpoint.pcb.delivered_bytes == 0
        endpoint.sends(20, "ack 1000 val 20 ecr 500")
        endpoint.receive(30, "1000:2000 ack 0 val 500 ecr 0")  # equal is not old
        assert endpoint.pcb.delivered_bytes == 1000

    def test_old_across_the_wrap_of_the_clock(self) -> None:
        """5.2: time stamps compare as sequence numbers do."""
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.pcb.ts_recent = (1 << 32) - 5
        endpoint.receive(10, "0:1000 ack 0 val 3 ecr 0")
        assert endpoint.pcb.delivered_bytes == 1000
        endpoint.output(10)
        endpoint.receive(20, f"1000:2000 ack 0 val {(1 << 32) - 1} ecr 0")
        assert endpoint.pcb.delivered_bytes == 0

    def test_an_old_acknowledgment_is_dropped(self) -> None:
        """5.3, R1 holds for segments without data: neither its window nor its ACK counts, and it is answered."""
        endpoint = Endpoint()
        endpoint.write(4000)
        endpoint.sends(0, *[f"{start}:{start + 1000} ack 0" for start in range(0, 4000, 1000)])
        endpoint.receive(10, "ack 1000 win 30000 val 500 ecr 0")
        endpoint.output(10)
        endpoint.receive(20, "ack 2000 win 20000 val 499 ecr 0")
        assert endpoint.flags == TCP_OUTPUT
        assert (endpoint.pcb.snd_wnd, endpoint.pcb.send_buffered_bytes) == (30_000, 3000)

    def test_an_old_acknowledgment_does_not_set_the_echo_back(self) -> None:
        """4.3 (2): a time stamp is kept if it is not older than the one before."""
        endpoint = Endpoint()
        endpoint.receive(10, "ack 0 val 500 ecr 0")
        endpoint.receive(20, "ack 0 val 300 ecr 0")
        endpoint.write(1000)
        endpoint.sends(30, "0:1000 ack 0 val 30 ecr 500")


class TestAcknowledgment:
    """RFC 9293, section 3.10.7.4, fifth step."""

    def test_of_new_data_leaves_the_send_buffer(self) -> None:
        endpoint = Endpoint()
        endpoint.write(3500)
        endpoint.output(0)
        endpoint.receive(100, "ack 1700")
        assert endpoint.flags == TCP_ACKED | TCP_OUTPUT
        assert (endpoint.pcb.acked_bytes, endpoint.pcb.send_buffered_bytes) == (1700, 1800)
        endpoint.receive(200, "ack 1700")
        assert endpoint.pcb.acked_bytes == 0
        assert not endpoint.flags & TCP_ACKED

    def test_of_old_data_is_ignored(self) -> None:
        endpoint = Endpoint()
        endpoint.write(3000)
        endpoint.output(0)
        endpoint.receive(100, "ack 2000 win 30000")
        endpoint.output(100)
        endpoint.receive(200, "ack 1000 win 60000")
        assert endpoint.flags == 0
        assert (endpoint.pcb.snd_wnd, endpoint.pcb.send_buffered_bytes) == (30_000, 1000)

    def test_of_what_was_not_sent_is_answered_and_dropped(self) -> None:
        endpoint = Endpoint()
        endpoint.write(2000)
        endpoint.output(0)
        endpoint.receive(100, "ack 2001")
        endpoint.sends(100, "2000:2000 ack 0")
        assert endpoint.pcb.send_buffered_bytes == 2000

    def test_data_with_an_acknowledgment_of_what_was_not_sent_is_dropped(self) -> None:
        """The whole segment is, not only its ACK: whoever sent it does not know this connection's numbers."""
        endpoint = Endpoint()
        endpoint.receive(100, "0:1000 ack 1")
        assert endpoint.pcb.delivered_bytes == 0
        endpoint.sends(100, "ack 0")

    def test_comes_with_data(self) -> None:
        """Both directions at once: the data is delivered, and the ACK lets the next segment out, which acknowledges the data."""
        endpoint = Endpoint(cwnd=1000)
        endpoint.write(3000)
        endpoint.sends(0, "0:1000 ack 0")
        endpoint.receive(100, "0:500 ack 1000")
        assert endpoint.flags == TCP_DELIVERED | TCP_DELAYED_ACK | TCP_ACKED | TCP_OUTPUT
        endpoint.sends(100, "1000:2000 ack 500", "2000:3000 ack 500")

    @pytest.mark.parametrize(("flags", "answer"), [(0, 0), (SYN, TCP_OUTPUT), (SYN | ACK, TCP_OUTPUT)])
    def test_other_segments_change_nothing(self, flags: int, answer: int) -> None:
        """Without ACK a segment is dropped, a SYN is answered by an ACK only (RFC 9293, section 3.10.7.4; RFC 5961, 4)."""
        endpoint = Endpoint()
        endpoint.write(2000)
        endpoint.output(0)
        segment = record(SEGMENT)
        segment.flags, segment.length, segment.seq = flags, 1000, endpoint.irs
        segment.ack = endpoint.iss + 1000
        segment.has_timestamps = 1
        endpoint.receive_segment(100, segment)
        assert endpoint.flags == answer
        assert (endpoint.pcb.delivered_bytes, endpoint.pcb.send_buffered_bytes) == (0, 2000)


class TestWindow:
    """RFC 9293, section 3.10.7.4 (SND.WND, WL1, WL2), and RFC 7323, section 2.3."""

    @pytest.mark.parametrize(
        ("buffer_bytes", "shift"),
        [(1, 0), (65_535, 0), (65_536, 1), (131_070, 1), (131_071, 2), (262_144, 3), (65_535 << 14, 14), (1 << 40, 14)],
    )
    def test_scale_is_the_least_that_fits_in_16_bits(self, buffer_bytes: int, shift: int) -> None:
        assert window_scale(buffer_bytes) == shift

    def test_the_field_is_scaled(self) -> None:
        """262,144 bytes need a shift of 3: the field says 100, the window is 800 bytes."""
        endpoint = Endpoint(send_window=262_144, cwnd=20_000)
        segment = record(SEGMENT)
        segment.flags, segment.seq, segment.ack, segment.window = ACK, endpoint.irs, endpoint.iss, 100
        segment.has_timestamps = 1
        endpoint.receive_segment(10, segment)
        assert endpoint.pcb.snd_wnd == 800

    def test_an_update_lets_more_out(self) -> None:
        endpoint = Endpoint(send_window=2000)
        endpoint.write(5000)
        endpoint.sends(0, "0:1000 ack 0", "1000:2000 ack 0")
        endpoint.receive(100, "ack 0 win 4000")
        assert endpoint.flags == TCP_OUTPUT
        endpoint.sends(100, "2000:3000 ack 0", "3000:4000 ack 0")

    def test_a_smaller_one_holds_back(self) -> None:
        endpoint = Endpoint(cwnd=20_000)
        endpoint.write(6000)
        endpoint.receive(10, "ack 0 win 2000")
        endpoint.sends(10, "0:1000 ack 0", "1000:2000 ack 0")
        endpoint.receive(20, "ack 1000 win 1000")  # the edge does not move
        endpoint.sends(20)

    def test_an_acknowledgment_of_something_new_sets_it_though_its_segment_is_older(self) -> None:
        """Nobody acknowledges less than before: this segment was sent again, after the one that set the window."""
        endpoint = Endpoint(cwnd=20_000)
        endpoint.write(6000)
        endpoint.sends(0, *[f"{start}:{start + 1000} ack 0" for start in range(0, 6000, 1000)])
        endpoint.receive(10, "100:200 ack 0 win 2000 val 5 ecr 0")
        endpoint.receive(20, "0:100 ack 1000 win 9000 val 5 ecr 0")
        assert (endpoint.pcb.snd_una - endpoint.iss) % MODULUS == 1000
        assert endpoint.pcb.snd_wnd == 9000

    @pytest.mark.parametrize("window", [0, 1000])
    def test_a_forged_one_does_not_last(self, window: int) -> None:
        """An ACK with a later number in the window, which the peer never sent: its next ACK of something new counts again."""
        endpoint = Endpoint(cwnd=20_000)
        endpoint.write(8000)
        endpoint.sends(0, *[f"{start}:{start + 1000} ack 0" for start in range(0, 8000, 1000)])
        endpoint.receive(10, f"5000:5000 ack 0 win {window}")
        assert endpoint.pcb.snd_wnd == window
        endpoint.receive(20, "0:0 ack 1000 win 30000 val 11 ecr 0")
        assert endpoint.pcb.snd_wnd == 30_000
        endpoint.receive(30, "0:0 ack 1000 win 40000 val 12 ecr 0")
        assert endpoint.pcb.snd_wnd == 40_000

    @pytest.mark.parametrize(
        ("style", "expected"),
        [
            (RFC, [9000, 5000, 9500, 0, 8000]),
            (LINUX, [9000, 9000, 9500, 0, 8000]),
            (FREEBSD, [9000, 9000, 9500, 9500, 9500]),
        ],
    )
    def test_of_the_same_numbers(self, style: int, expected: list[int]) -> None:
        """RFC 9293: WL1 = SEG.SEQ and WL2 = SEG.ACK. The kernels: tcp_may_update_window(), tcp_do_segment() step 6."""
        endpoint = Endpoint()
        endpoint.pcb.style = style
        endpoint.write(2000)
        endpoint.output(0)
        for window, after in zip([9000, 5000, 9500, 0, 8000], expected, strict=True):
            endpoint.receive(10, f"ack 1000 win {window}")
            assert endpoint.pcb.snd_wnd == after

    def test_an_older_segment_does_not_change_it(self) -> None:
        """Two segments with data changed places on the way: the window of the later one stays."""
        endpoint = Endpoint()
        endpoint.receive(10, "1000:1100 ack 0 win 50000 val 5 ecr 0")
        endpoint.receive(20, "0:1000 ack 0 win 2000 val 5 ecr 0")
        assert endpoint.pcb.delivered_bytes == 1100
        endpoint.write(4000)
        assert len(endpoint.output(20)) == 4


def test_a_repeated_segment_is_echoed_with_its_own_time() -> None:
    """Our ACK was lost. Its repetition must not echo the first copy, or the sender takes its timeout for a round trip."""
    endpoint = Endpoint(delayed_ack_us=0)
    endpoint.receive(10, "0:1000 ack 0 val 5 ecr 0")
    endpoint.sends(10, "ack 1000 val 10 ecr 5")
    endpoint.receive(900, "0:1000 ack 0 val 800 ecr 0")
    endpoint.sends(900, "ack 1000 val 900 ecr 800")
