"""Congestion control as packet traces worked out by hand from RFC 3390, RFC 5681 and RFC 6582. Segments are of 1,000 bytes."""

import pytest

from netstack.tcp.congestion import flight_size
from tests.helpers.packet_trace import ISS, MODULUS, Endpoint


def data(first: int, last: int, acked: int = 0) -> list[str]:
    """The segments number `first` to `last`, as they are sent."""
    return [f"{1000 * number}:{1000 * number + 1000} ack {acked}" for number in range(first, last + 1)]


def congestion(endpoint: Endpoint) -> tuple[int, int]:
    return int(endpoint.pcb.snd_cwnd), int(endpoint.pcb.snd_ssthresh)


def eight_outstanding(**options: int) -> Endpoint:
    """An end with segments 0 to 7 in flight and more to send."""
    endpoint = Endpoint(cwnd=8000, **options)
    endpoint.write(40_000)
    endpoint.sends(0, *data(0, 7))
    return endpoint


@pytest.mark.parametrize(("mss", "window"), [(536, 2144), (1095, 4380), (1460, 4380), (2190, 4380), (2191, 4382), (8960, 17920)])
def test_initial_window(mss: int, window: int) -> None:
    """RFC 3390, section 1: min(4 MSS, max(2 MSS, 4,380 bytes)); the application has more than that."""
    endpoint = Endpoint(mss=mss)
    endpoint.write(64_000)
    sent = endpoint.output(0)
    assert sum(segment.length for segment in sent) == window // mss * mss
    assert endpoint.pcb.snd_cwnd == window


class TestSlowStart:
    """RFC 5681, section 3.1, equation 2: an ACK adds min(N, SMSS), N being what it newly acknowledges."""

    def test_two_segments_leave_for_each_one_acknowledged(self) -> None:
        endpoint = Endpoint(cwnd=2000)
        endpoint.write(20_000)
        endpoint.sends(0, *data(0, 1))
        endpoint.receive(100, "ack 1000")
        endpoint.sends(100, *data(2, 3))
        endpoint.receive(110, "ack 2000")
        endpoint.sends(110, *data(4, 5))
        for number in range(3, 7):
            endpoint.receive(200, f"ack {1000 * number}")
            endpoint.sends(200, *data(2 * number, 2 * number + 1))
        assert congestion(endpoint)[0] == 8000

    def test_a_delayed_ack_of_two_segments_adds_one(self) -> None:
        endpoint = Endpoint(cwnd=4000)
        endpoint.write(20_000)
        endpoint.sends(0, *data(0, 3))
        endpoint.receive(100, "ack 2000")
        endpoint.sends(100, *data(4, 6))

    def test_acks_of_parts_of_a_segment_add_no_more_than_they_acknowledge(self) -> None:
        endpoint = Endpoint(cwnd=4000)
        endpoint.write(20_000)
        endpoint.sends(0, *data(0, 3))
        for acked in range(100, 1001, 100):
            endpoint.receive(100, f"ack {acked}")
        assert congestion(endpoint)[0] == 5000
        endpoint.sends(100, *data(4, 5))


class TestCongestionAvoidance:
    """RFC 5681, section 3.1, equation 3: an ACK adds SMSS * SMSS / cwnd."""

    def test_from_ssthresh_on(self) -> None:
        endpoint = Endpoint(cwnd=4000)
        endpoint.pcb.snd_ssthresh = 5000
        endpoint.write(60_000)
        endpoint.sends(0, *data(0, 3))
        windows = []
        for number in range(1, 5):
            endpoint.receive(100, f"ack {1000 * number}")
            endpoint.output(100)
            windows.append(congestion(endpoint)[0])
        assert windows == [5000, 5200, 5392, 5577]  # 5000 + 200, 5200 + 192.3, 5392 + 185.4

    def test_about_one_segment_a_round_trip(self) -> None:
        endpoint = Endpoint(cwnd=10_000)
        endpoint.pcb.snd_ssthresh = 10_000
        endpoint.write(64_000)
        endpoint.sends(0, *data(0, 9))
        for number in range(1, 11):
            endpoint.receive(100, f"ack {1000 * number}")
        assert 10_900 <= congestion(endpoint)[0] <= 11_000
        endpoint.sends(100, *data(10, 19))

    def test_a_large_window_still_grows(self) -> None:
        """Note to equation 3: where integer arithmetic gives 0, the increment is 1 byte."""
        endpoint = Endpoint(cwnd=2_000_000, send_window=1 << 22)
        endpoint.pcb.snd_ssthresh = 2_000_000
        endpoint.write(1000)
        endpoint.sends(0, "0:1000 ack 0")
        endpoint.receive(100, "ack 1000")
        assert congestion(endpoint)[0] == 2_000_001


class TestFastRetransmit:
    """RFC 5681, section 3.2, and RFC 6582, section 3.2."""

    def test_third_duplicate_retransmits_one_segment(self) -> None:
        """Steps 2 and 3: ssthresh = FlightSize / 2, cwnd = ssthresh + 3 SMSS."""
        endpoint = eight_outstanding()
        for _ in range(2):
            endpoint.receive(100, "ack 0")
            endpoint.sends(100)
        assert congestion(endpoint)[0] == 8000
        endpoint.receive(100, "ack 0")
        assert congestion(endpoint) == (7000, 4000)
        endpoint.sends(100, *data(0, 0))
        assert endpoint.pcb.retransmitted_segments == 1

    def test_the_first_segment_of_all_can_be_repaired(self) -> None:
        """RFC 6582, section 3.2, step 1: recover starts at the initial sequence number, which bars nothing."""
        endpoint = Endpoint(cwnd=4000)
        endpoint.write(4000)
        endpoint.sends(0, *data(0, 3))
        for _ in range(3):
            endpoint.receive(100, "ack 0")
        endpoint.sends(100, *data(0, 0))

    def test_ssthresh_is_at_least_two_segments(self) -> None:
        """RFC 5681, equation 4."""
        endpoint = Endpoint(cwnd=3000)
        endpoint.write(3000)
        endpoint.sends(0, *data(0, 2))
        for _ in range(3):
            endpoint.receive(100, "ack 0")
        assert congestion(endpoint) == (5000, 2000)

    def test_each_further_duplicate_inflates_by_one_segment(self) -> None:
        """RFC 5681, section 3.2, steps 4 and 5: a segment left the network, so that a new one may enter it."""
        endpoint = eight_outstanding()
        for _ in range(3):
            endpoint.receive(100, "ack 0")
        endpoint.sends(100, *data(0, 0))
        endpoint.receive(110, "ack 0")
        endpoint.sends(110)  # a window of 8,000 bytes is full
        for number in range(8, 11):
            endpoint.receive(120, "ack 0")
            endpoint.sends(120, *data(number, number))

    def test_full_acknowledgment_deflates_to_ssthresh(self) -> None:
        """RFC 6582, section 3.2, step 3: cwnd = min(ssthresh, max(FlightSize, SMSS) + SMSS)."""
        endpoint = eight_outstanding()
        for _ in range(7):
            endpoint.receive(100, "ack 0")
        endpoint.sends(100, *data(0, 0), *data(8, 10))
        endpoint.receive(200, "ack 8000")  # 8, 9 and 10 are in flight
        assert congestion(endpoint) == (4000, 4000)
        endpoint.sends(200, *data(11, 11))
        endpoint.receive(300, "ack 9000")
        assert congestion(endpoint)[0] == 4250  # congestion avoidance goes on from here

    def test_full_acknowledgment_of_everything_sent_makes_no_burst(self) -> None:
        """The same with FlightSize = 0: two segments, not four."""
        endpoint = eight_outstanding()
        for _ in range(3):
            endpoint.receive(100, "ack 0")
        endpoint.sends(100, *data(0, 0))
        endpoint.receive(200, "ack 8000")
        assert congestion(endpoint) == (2000, 4000)
        endpoint.sends(200, *data(8, 9))

    def test_partial_acknowledgment_retransmits_the_next_hole(self) -> None:
        """RFC 6582, section 3.2, step 3: deflate by what was acknowledged, add one segment back, stay in recovery.

        Segments 0, 3 and 5 of 8 are lost: one hole is repaired a round trip, without waiting for duplicates.
        """
        endpoint = eight_outstanding()
        for _ in range(5):
            endpoint.receive(100, "ack 0")
        endpoint.sends(100, *data(0, 0), *data(8, 8))  # 4,000 + 5,000 - 8,000
        endpoint.receive(200, "ack 3000")  # 9,000 - 3,000 + 1,000
        assert congestion(endpoint) == (7000, 4000)
        endpoint.sends(200, *data(3, 3), *data(9, 9))
        endpoint.receive(300, "ack 5000")  # 7,000 - 2,000 + 1,000
        assert congestion(endpoint) == (6000, 4000)
        endpoint.sends(300, *data(5, 5), *data(10, 10))
        endpoint.receive(400, "ack 9000")  # all up to 7, which was the last one sent when recovery began
        assert congestion(endpoint) == (3000, 4000)
        endpoint.sends(400, *data(11, 11))
        assert endpoint.pcb.retransmitted_segments == 3

    def test_partial_acknowledgment_of_one_segment_adds_it_back(self) -> None:
        """RFC 6582, section 3.2, step 3: segments 0 and 1 are lost."""
        endpoint = eight_outstanding()
        for _ in range(3):
            endpoint.receive(100, "ack 0")
        endpoint.sends(100, *data(0, 0))
        endpoint.receive(200, "ack 1000")
        assert congestion(endpoint)[0] == 7000
        endpoint.sends(200, *data(1, 1))

    def test_partial_acknowledgment_of_less_than_a_segment_adds_nothing_back(self) -> None:
        """RFC 6582, section 3.2, step 3: a segment is added back if at least one was acknowledged."""
        endpoint = eight_outstanding()
        for _ in range(3):
            endpoint.receive(100, "ack 0")
        endpoint.sends(100, *data(0, 0))
        endpoint.receive(200, "ack 400")
        assert congestion(endpoint)[0] == 6600
        endpoint.sends(200, "400:1400 ack 0")

    def test_partial_acknowledgment_restarts_the_timer(self) -> None:
        """RFC 6582, section 3.2, step 3, and RFC 6298, 5.3."""
        endpoint = eight_outstanding()
        for _ in range(3):
            endpoint.receive(100, "ack 0")
        endpoint.sends(100, *data(0, 0))
        endpoint.receive(50_000, "ack 3000 val 50000 ecr 49999")
        endpoint.sends(50_000, *data(3, 3))
        assert endpoint.deadline == 50_000 + 200_000  # the least timeout that was configured

    @pytest.mark.parametrize("acked", [8000, 9000])
    def test_recovery_is_entered_once_a_window(self, acked: int) -> None:
        """RFC 6582, section 3.2, step 2: only if the ACK covers more than recover, that is ack - 1 > recover.

        Recovery ended with an ACK of just what was outstanding when it began. Three more duplicates of it may come from
        segments that were sent twice and mean no loss; behind a later ACK they do.
        """
        endpoint = eight_outstanding()
        for _ in range(7):
            endpoint.receive(100, "ack 0")
        endpoint.sends(100, *data(0, 0), *data(8, 10))
        endpoint.receive(200, f"ack {acked}")
        endpoint.sends(200, *data(11, 11))
        before = congestion(endpoint)
        for _ in range(3):
            endpoint.receive(300, f"ack {acked}")
        if acked == 8000:
            endpoint.sends(300)
            assert congestion(endpoint) == before
        else:  # three segments are in flight: ssthresh 2,000, cwnd 5,000
            endpoint.sends(300, *data(9, 9), *data(12, 13))
            assert congestion(endpoint) == (5000, 2000)

    def test_duplicates_after_a_timeout_mean_retransmitted_segments(self) -> None:
        """RFC 6582, section 3.2, step 4: recover is what was sent before the timeout.

        Only segment 0 of 8 was lost. The ACK of its retransmission covers all 8, and the segments that go-back-N sends
        again in vain are answered by duplicates of it.
        """
        endpoint = eight_outstanding()
        endpoint.expire(1_000_000)
        endpoint.sends(1_000_000, *data(0, 0))
        endpoint.receive(1_000_100, "ack 8000")
        endpoint.sends(1_000_100, *data(8, 9))
        for _ in range(3):
            endpoint.receive(1_000_200, "ack 8000")
        endpoint.sends(1_000_200)
        assert congestion(endpoint) == (2000, 4000)

    def test_fast_retransmit_works_after_two_gigabytes_without_loss(self) -> None:
        """RFC 6582, section 3.2, step 2: recover lies behind, even where its number has come to look like one ahead."""
        endpoint = Endpoint(mss=1 << 24, send_window=1 << 29, cwnd=1 << 29)
        sent = 0
        while sent < 5 << 29:
            endpoint.write(1 << 29)
            endpoint.pcb.snd_cwnd = 1 << 29
            assert len(endpoint.output(sent >> 20)) == 32
            sent += 1 << 29
            for part in range(1, 33):
                endpoint.receive(sent >> 20, f"ack {sent - (1 << 29) + (part << 24)}")
        endpoint.write(1 << 26)
        now = sent >> 20
        assert len(endpoint.output(now)) == 4
        for _ in range(3):
            endpoint.receive(now, f"ack {sent}")
        endpoint.sends(now, f"{sent}:{sent + (1 << 24)} ack 0")

    def test_a_retransmission_that_is_no_longer_needed_is_not_sent(self) -> None:
        """The third duplicate and the ACK that ends recovery come in one batch, before the host asks for output."""
        endpoint = eight_outstanding()
        for _ in range(3):
            endpoint.receive(100, "ack 0")
        endpoint.receive(100, "ack 8000")
        endpoint.sends(100, *data(8, 9))

    def test_a_retransmission_is_not_sent_twice(self) -> None:
        """The third duplicate and the timeout come in one batch: both ask for the same segment."""
        endpoint = eight_outstanding()
        for _ in range(3):
            endpoint.receive(1_000_000, "ack 0")
        endpoint.expire(1_000_000)
        endpoint.sends(1_000_000, *data(0, 0))

    def test_a_timeout_ends_recovery(self) -> None:
        """RFC 6582, section 3.2, step 4: record recover and leave fast recovery; the window restarts at one segment."""
        endpoint = eight_outstanding()
        for _ in range(3):
            endpoint.receive(100, "ack 0")
        endpoint.sends(100, *data(0, 0))
        endpoint.expire(endpoint.deadline)
        endpoint.sends(2_000_000, *data(0, 0))
        endpoint.receive(2_000_100, "ack 1000")  # no partial ACK any more: slow start
        assert congestion(endpoint) == (2000, 4000)
        endpoint.sends(2_000_100, *data(1, 2))


class TestDuplicates:
    """RFC 5681, section 2: what is a duplicate acknowledgment, and what is not."""

    def test_not_with_data(self) -> None:
        endpoint = eight_outstanding()
        for number in range(4):
            endpoint.receive(100, f"{number}:{number + 1} ack 0")
        assert [segment.length for segment in endpoint.output(100)] == [0]
        assert congestion(endpoint)[0] == 8000

    def test_not_with_another_window(self) -> None:
        endpoint = eight_outstanding()
        for window in (64_000, 63_000, 62_000, 61_000):
            endpoint.receive(100, f"ack 0 win {window}")
        endpoint.sends(100)
        assert congestion(endpoint)[0] == 8000

    def test_not_with_nothing_outstanding(self) -> None:
        endpoint = Endpoint()
        for _ in range(4):
            endpoint.receive(100, "ack 0")
        endpoint.write(5000)
        endpoint.sends(100, *data(0, 3))
        endpoint.receive(200, "ack 0")
        endpoint.sends(200)

    def test_not_of_an_older_number(self) -> None:
        endpoint = eight_outstanding()
        endpoint.receive(100, "ack 1000")
        endpoint.output(100)
        for _ in range(4):
            endpoint.receive(200, "ack 0")
        endpoint.sends(200)
        assert congestion(endpoint)[0] == 9000

    def test_new_data_starts_the_count_again(self) -> None:
        endpoint = eight_outstanding()
        for _ in range(2):
            endpoint.receive(100, "ack 0")
        endpoint.receive(100, "ack 1000")
        endpoint.output(100)
        for _ in range(2):
            endpoint.receive(200, "ack 1000")
        endpoint.sends(200)
        endpoint.receive(200, "ack 1000")
        endpoint.sends(200, *data(1, 1))


class TestTimeout:
    """RFC 5681, section 3.1: the loss window is one segment, ssthresh falls once for a segment."""

    def test_one_segment_and_half_the_flight(self) -> None:
        endpoint = eight_outstanding()
        endpoint.expire(1_000_000)
        endpoint.sends(1_000_000, *data(0, 0))
        assert congestion(endpoint) == (1000, 4000)

    def test_a_second_timeout_keeps_ssthresh(self) -> None:
        endpoint = eight_outstanding()
        endpoint.expire(1_000_000)
        endpoint.sends(1_000_000, *data(0, 0))
        endpoint.expire(3_000_000)
        endpoint.sends(3_000_000, *data(0, 0))
        assert congestion(endpoint) == (1000, 4000)

    def test_a_later_one_halves_again(self) -> None:
        """What was acknowledged since then makes it another loss: 6,000 bytes are in flight."""
        endpoint = eight_outstanding()
        endpoint.expire(1_000_000)
        endpoint.sends(1_000_000, *data(0, 0))
        endpoint.receive(1_000_100, "ack 2000")
        endpoint.sends(1_000_100, *data(2, 3))
        endpoint.expire(endpoint.deadline)
        assert congestion(endpoint) == (1000, 3000)

    def test_behind_a_small_window_means_loss_like_any_other(self) -> None:
        """The peer's buffer is smaller than a segment, but it is open."""
        endpoint = Endpoint(send_window=600, cwnd=8000)
        endpoint.write(1200)
        endpoint.sends(0, "0:600 ack 0")
        endpoint.expire(1_000_000)
        endpoint.sends(1_000_000, "0:600 ack 0")
        assert congestion(endpoint) == (1000, 2000)
        assert endpoint.pcb.retransmission_timeouts == 1

    def test_slow_start_to_ssthresh_from_the_first_hole(self) -> None:
        """Everything after it is sent again, as cumulative ACKs do not tell what arrived."""
        endpoint = eight_outstanding()
        endpoint.expire(1_000_000)
        endpoint.sends(1_000_000, *data(0, 0))
        endpoint.receive(1_100_000, "ack 1000")
        endpoint.sends(1_100_000, *data(1, 2))
        endpoint.receive(1_200_000, "ack 2000")
        endpoint.sends(1_200_000, *data(3, 4))
        endpoint.receive(1_200_000, "ack 3000")
        endpoint.sends(1_200_000, *data(5, 6))
        endpoint.receive(1_300_000, "ack 4000")
        assert congestion(endpoint) == (4250, 4000)
        endpoint.sends(1_300_000, *data(7, 7))
        assert endpoint.pcb.retransmitted_segments == 8

    def test_an_ack_beyond_what_was_sent_again_is_believed(self) -> None:
        """The receiver had kept segments 1 to 7: nothing of them is sent again."""
        endpoint = eight_outstanding()
        endpoint.expire(1_000_000)
        endpoint.sends(1_000_000, *data(0, 0))
        endpoint.receive(1_100_000, "ack 8000")
        endpoint.sends(1_100_000, *data(8, 9))


def test_flight_size_counts_across_the_wrap() -> None:
    """RFC 5681, section 2: what was sent and not yet acknowledged."""
    endpoint = eight_outstanding()
    assert endpoint.pcb.snd_una == ISS
    assert endpoint.pcb.snd_max == ISS + 8000 - MODULUS
    assert flight_size(endpoint.pcb) == 8000
    endpoint.receive(100, "ack 1200")
    assert flight_size(endpoint.pcb) == 6800
