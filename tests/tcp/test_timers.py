"""Retransmission and delayed-ACK timers: arithmetic and traces by hand from RFC 6298 and RFC 9293, section 3.8.6.3."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.tcp.acknowledgment import tcp_rtt_update
from netstack.tcp.timers import tcp_next_deadline_us
from tests.helpers.packet_trace import Endpoint, new_pcb

SECOND = 1_000_000


def retransmission_timeout(*samples_us: int, least_us: int = 0) -> int:
    """The timeout after these round-trip times."""
    pcb, _ = new_pcb()
    pcb.min_rto_us = least_us
    for sample in samples_us:
        tcp_rtt_update(pcb, sample)
    return int(pcb.rto_us)


class TestRetransmissionTimeout:
    """RFC 6298, section 2: SRTT, RTTVAR and RTO = SRTT + max(G, 4 RTTVAR)."""

    def test_before_any_sample(self) -> None:
        """2.1: one second, or the least that was configured if that is more."""
        assert Endpoint().pcb.rto_us == SECOND
        assert Endpoint(min_rto_us=3 * SECOND).pcb.rto_us == 3 * SECOND

    @pytest.mark.parametrize(
        ("samples_us", "rto_us"),
        [
            ([100_000], 300_000),  # 2.2: SRTT 100 ms, RTTVAR 50 ms
            ([100_000, 200_000], 362_500),  # 2.3: RTTVAR 3/4 50 + 1/4 100 = 62.5, SRTT 7/8 100 + 1/8 200 = 112.5
            ([100_000, 20_000], 320_000),  # RTTVAR 3/4 50 + 1/4 80 = 57.5, SRTT 7/8 100 + 1/8 20 = 90
            ([100_000, 100_000], 250_000),  # RTTVAR 37.5
        ],
    )
    def test_by_hand(self, samples_us: list[int], rto_us: int) -> None:
        assert retransmission_timeout(*samples_us) == rto_us

    @settings(deadline=None)
    @given(st.lists(st.integers(1, 3 * SECOND), min_size=1, max_size=30))
    def test_against_exact_fractions(self, samples_us: list[int]) -> None:
        """Integer arithmetic rounds every step by less than 1 us; the error of SRTT stays under 8 us, of RTTVAR under 12."""
        smoothed, variation = Fraction(samples_us[0]), Fraction(samples_us[0], 2)
        for sample in samples_us[1:]:
            variation = Fraction(3, 4) * variation + Fraction(1, 4) * abs(smoothed - sample)
            smoothed = Fraction(7, 8) * smoothed + Fraction(1, 8) * sample
        expected = smoothed + max(1, 4 * variation)
        assert abs(retransmission_timeout(*samples_us) - expected) < 8 + 4 * 12

    def test_bounds(self) -> None:
        """2.4 and 2.5: a least value as configured, a greatest one of at least 60 s."""
        assert retransmission_timeout(1000, least_us=200_000) == 200_000
        assert retransmission_timeout(100 * SECOND) >= 60 * SECOND
        assert retransmission_timeout(100 * SECOND) < 300 * SECOND

    def test_a_round_trip_below_the_clock(self) -> None:
        """The variation vanishes; the timeout stays above the round trip by the clock's granularity (2.3)."""
        assert retransmission_timeout(*[500] * 60) == 501


class TestRetransmissionTimer:
    """RFC 6298, section 5."""

    def test_starts_with_the_first_segment_and_not_again(self) -> None:
        """5.1: with data sent while it runs it goes on."""
        endpoint = Endpoint()
        assert endpoint.deadline == 0
        endpoint.write(1000)
        endpoint.sends(10, "0:1000 ack 0")
        assert endpoint.deadline == 10 + SECOND
        endpoint.write(1000)
        endpoint.sends(500, "1000:2000 ack 0")
        assert endpoint.deadline == 10 + SECOND

    def test_does_not_run_for_an_acknowledgment(self) -> None:
        """5.1: only segments with data start it."""
        endpoint = Endpoint()
        endpoint.receive(10, "0:1000 ack 0")
        endpoint.receive(10, "1000:2000 ack 0")
        endpoint.sends(10, "ack 2000")
        assert endpoint.deadline == 0

    def test_stops_when_all_is_acknowledged(self) -> None:
        """5.2."""
        endpoint = Endpoint()
        endpoint.write(2000)
        endpoint.sends(0, "0:1000 ack 0", "1000:2000 ack 0")
        endpoint.receive(100_000, "ack 2000")
        assert endpoint.deadline == 0

    def test_restarts_with_new_data_acknowledged(self) -> None:
        """5.3: it expires a whole RTO after the ACK, and the RTO is by then the measured one."""
        endpoint = Endpoint()
        endpoint.write(2000)
        endpoint.sends(1, "0:1000 ack 0", "1000:2000 ack 0")
        endpoint.receive(100_001, "ack 1000 val 7 ecr 1")
        assert endpoint.deadline == 100_001 + 300_000

    def test_does_not_restart_with_a_duplicate(self) -> None:
        """5.3: the ACK must acknowledge new data."""
        endpoint = Endpoint()
        endpoint.write(2000)
        endpoint.output(1)
        endpoint.receive(100_001, "ack 0")
        assert endpoint.deadline == 1 + SECOND

    def test_nothing_happens_before_it_expires(self) -> None:
        endpoint = Endpoint()
        endpoint.write(1000)
        endpoint.output(1)
        endpoint.expire(SECOND)
        endpoint.sends(SECOND)
        assert endpoint.pcb.retransmission_timeouts == 0
        endpoint.expire(SECOND + 1)
        endpoint.sends(SECOND + 1, "0:1000 ack 0")
        assert endpoint.pcb.retransmission_timeouts == 1

    def test_backs_off(self) -> None:
        """5.4 to 5.6: the earliest segment again, after 1, 2, 4, 8, 16, 32 s, then no less than once in 60 s or so."""
        endpoint = Endpoint()
        endpoint.write(3000)
        endpoint.output(0)
        waits, at = [], 0
        for _ in range(9):
            waits.append(endpoint.deadline - at)
            at = endpoint.deadline
            endpoint.expire(at)
            endpoint.sends(at, "0:1000 ack 0")
        assert waits[:6] == [SECOND << shift for shift in range(6)]
        assert all(60 * SECOND <= wait <= 64 * SECOND for wait in waits[6:])
        assert endpoint.pcb.retransmission_timeouts == 9

    def test_keeps_the_back_off_until_there_is_a_sample(self) -> None:
        """Section 5, and Karn's algorithm (section 3): an ACK without time stamps tells no round-trip time."""
        endpoint = Endpoint()
        endpoint.write(2000)
        endpoint.output(1)
        endpoint.expire(SECOND + 1)
        endpoint.sends(SECOND + 1, "0:1000 ack 0")
        endpoint.receive(SECOND + 101, "ack 1000 val 1 ecr 0")
        endpoint.sends(SECOND + 101, "1000:2000 ack 0")
        assert endpoint.deadline == SECOND + 101 + 2 * SECOND
        endpoint.receive(SECOND + 100_101, f"ack 2000 val 1 ecr {SECOND + 101}")
        assert endpoint.pcb.rto_us == 300_000

    def test_time_stamps_make_a_sample_of_a_retransmission(self) -> None:
        """Section 3: with time stamps the ACK tells which of the two transmissions it answers."""
        for echo, rto_us in ((1, 3 * (SECOND + 100_000)), (SECOND + 1, 300_000)):
            endpoint = Endpoint()
            endpoint.write(1000)
            endpoint.output(1)
            endpoint.expire(SECOND + 1)
            endpoint.sends(SECOND + 1, f"0:1000 ack 0 val {SECOND + 1} ecr 0")
            endpoint.receive(SECOND + 100_001, f"ack 1000 val 1 ecr {echo}")
            assert endpoint.pcb.rto_us == rto_us

    def test_a_sample_across_the_wrap_of_the_clock(self) -> None:
        """RFC 7323, section 4.1: time stamps are 32 bits of a clock that goes on."""
        at = (1 << 32) - 50_000
        endpoint = Endpoint()
        endpoint.write(1000)
        endpoint.sends(at, f"0:1000 ack 0 val {at} ecr 0")
        endpoint.receive(at + 100_000, f"ack 1000 val 1 ecr {at}")
        assert endpoint.pcb.rto_us == 300_000


class TestDelayedAck:
    """RFC 9293, section 3.8.6.3; RFC 5681, section 4.2."""

    def test_of_one_segment_waits_for_the_timer(self) -> None:
        endpoint = Endpoint()
        endpoint.receive(10, "0:1000 ack 0")
        endpoint.sends(10)
        assert endpoint.deadline == 10 + 100_000
        endpoint.expire(100_009)
        assert endpoint.flags == 0
        endpoint.expire(100_010)
        assert endpoint.deadline == 0
        endpoint.sends(100_010, "ack 1000")
        assert endpoint.deadline == 0

    def test_of_every_second_segment_leaves_at_once(self) -> None:
        endpoint = Endpoint()
        for pair in range(3):
            endpoint.receive(10 + pair, f"{2000 * pair}:{2000 * pair + 1000} ack 0")
            endpoint.sends(10 + pair)
            endpoint.receive(10 + pair, f"{2000 * pair + 1000}:{2000 * pair + 2000} ack 0")
            endpoint.sends(10 + pair, f"ack {2000 * pair + 2000}")
            assert endpoint.deadline == 0

    def test_rides_on_data(self) -> None:
        endpoint = Endpoint()
        endpoint.receive(10, "0:1000 ack 0")
        endpoint.write(300)
        endpoint.sends(20, "0:300 ack 1000")
        assert endpoint.pcb.delack_deadline_us == 0
        endpoint.receive(30, "1000:2000 ack 0")
        endpoint.sends(30)  # the count of segments started again

    def test_can_be_switched_off(self) -> None:
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.receive(10, "0:1000 ack 0")
        endpoint.sends(10, "ack 1000")

    def test_is_not_due_to_a_segment_without_data(self) -> None:
        """An ACK is not acknowledged."""
        endpoint = Endpoint()
        endpoint.receive(10, "ack 0")
        endpoint.sends(10)
        assert endpoint.deadline == 0


@pytest.mark.parametrize(("rexmt", "delack", "first"), [(0, 0, 0), (5, 0, 5), (0, 7, 7), (5, 7, 5), (7, 5, 5)])
def test_the_earlier_deadline_of_those_that_run(rexmt: int, delack: int, first: int) -> None:
    pcb, _ = new_pcb()
    pcb.rexmt_deadline_us, pcb.delack_deadline_us = rexmt, delack
    assert tcp_next_deadline_us(pcb) == first


def test_both_timers_in_one_call() -> None:
    """The host may come late: the delayed ACK then rides on the retransmission."""
    endpoint = Endpoint()
    endpoint.write(1000)
    endpoint.output(0)
    endpoint.receive(950_000, "0:1000 ack 0")
    endpoint.expire(2 * SECOND)
    endpoint.sends(2 * SECOND, "0:1000 ack 1000")
    assert endpoint.deadline == 4 * SECOND
