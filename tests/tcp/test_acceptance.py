"""Segments that a connection must not believe, and those that it must read though they are outside of its window."""

from typing import Any

import pytest

from netstack.tcp.connection import tcp_abort
from netstack.tcp.flags import TCP_OUTPUT
from netstack.tcp.header import ACK, FIN, RST, SEGMENT, SYN
from netstack.tcp.states import State
from tests.helpers.packet_trace import MODULUS, Endpoint, record

SECOND, DAY = 1_000_000, 86_400_000_000


def forged(endpoint: Endpoint, seq: int, ack: int, flags: int = ACK, length: int = 0, stamp: int = 0) -> Any:
    """A segment with numbers relative to the first byte of each direction, and a time stamp."""
    segment = record(SEGMENT)
    segment.flags, segment.length = flags, length
    segment.seq, segment.ack = (endpoint.irs + seq) % MODULUS, (endpoint.iss + ack) % MODULUS
    segment.window = endpoint.window >> int(endpoint.pcb.snd_scale)
    segment.has_timestamps, segment.ts_val = 1, stamp
    return segment


class TestRangeOfAcknowledgments:
    """RFC 5961, section 5.2: from SND.UNA - MAX.SND.WND to what was sent. Here from 1,600 to 2,400."""

    @staticmethod
    def sender() -> Endpoint:
        endpoint = Endpoint(mss=800, send_window=800, delayed_ack_us=0)
        endpoint.write(2400)
        for start in range(0, 2400, 800):
            endpoint.sends(start, f"{start}:{start + 800} ack 0")
            endpoint.receive(start + 1, f"ack {start + 800}")
        return endpoint

    @pytest.mark.parametrize("ack", [1600, 2000, 2400])
    def test_data_is_taken_with_one_in_it(self, ack: int) -> None:
        endpoint = self.sender()
        endpoint.receive(5000, f"0:50 ack {ack}")
        assert endpoint.pcb.delivered_bytes == 50

    @pytest.mark.parametrize("ack", [1599, 1000, MODULUS - 5, 2401, 1 << 30, 1 << 31])
    def test_the_whole_segment_is_dropped_and_answered_with_one_outside(self, ack: int) -> None:
        endpoint = self.sender()
        endpoint.receive(5000, f"0:50 ack {ack}")
        assert endpoint.pcb.delivered_bytes == 0
        endpoint.sends(5000, "2400:2400 ack 0")
        endpoint.receive(6000, f"ack {ack}")
        endpoint.sends(6000, "2400:2400 ack 0")


class TestWhatAForgedSegmentChanges:
    """Nothing of the connection: RFC 7323, section 4.3, takes the time stamps of acceptable segments only."""

    STAMP = 0x7000_0000
    SEGMENTS = (
        ("old data, ACK far off", -100, 1 << 30, ACK, 10),
        ("old data, ACK below the range", -100, -(1 << 30), ACK, 10),
        ("old data without ACK", -100, 0, 0, 10),
        ("in the window, ACK too old", 0, -(1 << 30), ACK, 1),
        ("in the window, ACK of what was not sent", 0, 1 << 28, ACK, 1),
        ("the same without data", 0, 1 << 28, ACK, 0),
        ("SYN in the window", 0, 0, SYN, 0),
        ("SYN-ACK in the window", 0, 0, SYN | ACK, 0),
        ("reset in the window", 5, 0, RST, 0),
        ("far outside", 1 << 30, 0, ACK, 0),
        ("far outside with FIN", 1 << 30, 0, ACK | FIN, 10),
        ("before the last window", -70_000, 0, ACK, 10),
    )

    @pytest.mark.parametrize(("seq", "ack", "flags", "length"), [case[1:] for case in SEGMENTS], ids=[c[0] for c in SEGMENTS])
    def test_no_time_stamp_and_no_sign_of_life(self, seq: int, ack: int, flags: int, length: int) -> None:
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.receive(10, "0:1000 ack 0 val 500 ecr 0")
        endpoint.output(10)
        fields = [(part, name) for part in (endpoint.pcb, endpoint.cold) for name in part.dtype.names]
        before = [part[name].copy() for part, name in fields]
        endpoint.receive_segment(900, forged(endpoint, 1000 + seq, ack, flags, length, self.STAMP))
        endpoint.output(900)
        changed = {name for (part, name), value in zip(fields, before, strict=True) if (part[name] != value).any()}
        assert changed <= {"delivered_bytes", "accepted_bytes", "accepted_seq", "answers", "answers_since_us"}
        endpoint.receive(1000, "1000:1500 ack 0 val 501 ecr 0")  # the true peer goes on
        assert endpoint.pcb.delivered_bytes == 500

    def test_time_wait_is_renewed_by_the_peers_fin_only(self) -> None:
        """RFC 9293, section 3.10.7.4: "the only thing that can arrive in this state is a retransmission of the remote FIN"."""
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.pcb.state = State.FIN_WAIT_2
        endpoint.pcb.time_wait_us = 60 * SECOND
        endpoint.receive_segment(10, forged(endpoint, 0, 0, ACK | FIN, stamp=500))
        assert endpoint.pcb.state == State.TIME_WAIT
        for seq, ack, length in ((5, 0, 0), (0, 1 << 28, 0), (0, -(1 << 30), 0), (-10, 0, 5)):
            endpoint.receive_segment(SECOND, forged(endpoint, seq, ack, ACK | FIN, length, 600))
            assert endpoint.pcb.linger_deadline_us == 60 * SECOND + 10
        endpoint.receive_segment(SECOND, forged(endpoint, 0, 0, ACK | FIN, stamp=600))
        assert endpoint.pcb.linger_deadline_us == 61 * SECOND


class TestAgeOfTimeStamps:
    """RFC 7323, section 5.5: after 24 days ts_recent says nothing more. A clock of ms wraps its sign after 24.9."""

    @pytest.mark.parametrize("probed", [True, False])
    def test_counts_from_its_last_change(self, probed: bool) -> None:
        """Probes of the peer have a number below the window: they do not change ts_recent, and must not make it look new."""
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.receive(0, "0:1 ack 0 val 500 ecr 0")
        endpoint.output(0)
        if probed:
            for hour in range(2, 26 * 24, 2):
                endpoint.receive(hour * DAY // 24, f"0:0 ack 0 val {500 + hour * 3_600_000} ecr 0")
                endpoint.sends(hour * DAY // 24, "ack 1")
        endpoint.receive(26 * DAY, f"1:101 ack 0 val {500 + 26 * 86_400_000} ecr 0")
        assert endpoint.pcb.delivered_bytes == 100

    def test_is_young_for_less(self) -> None:
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.receive(0, "0:1 ack 0 val 500 ecr 0")
        endpoint.receive(24 * DAY - 1, "1:101 ack 0 val 499 ecr 0")
        assert endpoint.pcb.delivered_bytes == 0


class TestLimitOfAnswers:
    """All answers to what is not acceptable are counted together: ten in five seconds (RFC 5961, section 7)."""

    @staticmethod
    def endpoint() -> Endpoint:
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.receive(10, "0:1000 ack 0 val 500 ecr 0")
        endpoint.output(10)
        return endpoint

    @staticmethod
    def kinds(endpoint: Endpoint) -> list[Any]:
        return [
            forged(endpoint, 1000, 0, stamp=499),  # older
            forged(endpoint, 999, 0, stamp=500),  # before the window
            forged(endpoint, 1 << 30, 0, stamp=500),  # far from it
            forged(endpoint, 1 << 30, 0, length=10, stamp=500),
            forged(endpoint, 1000, 1 << 28, stamp=500),  # acknowledges what was not sent
            forged(endpoint, 1000, 1 << 28, length=10, stamp=500),
            forged(endpoint, 1000, -(1 << 28), stamp=500),  # acknowledges what was, long ago
            forged(endpoint, 1000, 0, flags=SYN, stamp=500),
            forged(endpoint, 1001, 0, flags=RST, stamp=500),
        ]

    def test_each_kind_has_an_answer(self) -> None:
        for number in range(len(self.kinds(self.endpoint()))):
            endpoint = self.endpoint()
            endpoint.receive_segment(20, self.kinds(endpoint)[number])
            endpoint.sends(20, "ack 1000")

    def test_all_kinds_together_have_ten(self) -> None:
        endpoint = self.endpoint()
        answers = 0
        for at in range(100, 2_000_000, 10_000):
            for segment in self.kinds(endpoint):
                endpoint.receive_segment(at, segment)
                answers += len(endpoint.output(at))
        assert answers == 10
        endpoint.receive_segment(6_000_000, self.kinds(endpoint)[0])
        endpoint.sends(6_000_000, "ack 1000")

    def test_data_of_the_last_window_is_always_acknowledged_again(self) -> None:
        """The peer repeats it by its timer, since our ACK was lost: without an answer it would give up."""
        endpoint = self.endpoint()
        for at in range(100, 120):
            endpoint.receive_segment(at, forged(endpoint, 1 << 30, 0, stamp=500))
            endpoint.output(at)
        for at in range(200, 230):
            endpoint.receive(at, f"0:1000 ack 0 val {at + 500} ecr 0")
            endpoint.sends(at, f"ack 1000 val {at} ecr {at + 500}")


class TestClosedWindow:
    """RFC 9293, section 3.10.7.4: "special allowance should be made to accept valid ACKs" while the window is closed."""

    @staticmethod
    def full(write: int = 1000) -> Endpoint:
        """An endpoint without room, which has sent 1,000 bytes or less."""
        endpoint = Endpoint(receive_buffer=1000, delayed_ack_us=0)
        endpoint.receive(10, "0:1000 ack 0")
        endpoint.pcb.rcv_wnd = 0
        endpoint.sends(10, "ack 1000 win 0")
        endpoint.write(write)
        endpoint.sends(10, f"0:{write} ack 1000")
        return endpoint

    @pytest.mark.parametrize("seq", [999, 1000, 1001])
    def test_acknowledgment_and_window_of_a_probe_are_read(self, seq: int) -> None:
        """The number before the next one is how Linux probes; the one behind it is that of a peer that probed with a byte."""
        endpoint = self.full()
        endpoint.receive(20, f"{seq}:{seq} ack 1000 win 5000")
        assert (endpoint.pcb.send_buffered_bytes, endpoint.pcb.snd_wnd) == (0, 5000)
        endpoint.sends(20, *([] if seq == 1000 else ["1000:1000 ack 1000"]))

    @pytest.mark.parametrize(("seq", "ack"), [(998, 1000), (1002, 1000), (999, 1001), (999, 1 << 31)])
    def test_others_are_not(self, seq: int, ack: int) -> None:
        endpoint = self.full()
        endpoint.receive(20, f"{seq}:{seq} ack {ack} win 5000")
        assert (endpoint.pcb.send_buffered_bytes, endpoint.pcb.snd_wnd) == (1000, 64_000)
        endpoint.sends(20, "1000:1000 ack 1000")

    def test_payload_of_a_probe_is_not_taken(self) -> None:
        endpoint = self.full()
        for start in (999, 1000, 1001):
            endpoint.receive(20, f"{start}:{start + 1} ack 1000 win 5000")
            assert endpoint.pcb.delivered_bytes == 0
        assert endpoint.pcb.send_buffered_bytes == 0

    def test_behind_a_window_that_is_full_of_lost_data_the_acknowledgment_is_read(self) -> None:
        """All that the peer sent was lost. Its ACKs have the number behind our window, which is not in it."""
        endpoint = Endpoint(receive_buffer=4000)
        endpoint.write(1000)
        endpoint.sends(0, "0:1000 ack 0")
        endpoint.receive(10, "4000:4000 ack 1000 win 3000")
        assert (endpoint.pcb.send_buffered_bytes, endpoint.pcb.snd_wnd) == (0, 3000)
        assert endpoint.flags & TCP_OUTPUT


class TestNumberOfAnAcknowledgment:
    """A segment without data must be inside of the peer's window, or the peer drops it with all that it acknowledges."""

    def test_after_a_probe_with_a_byte(self) -> None:
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.write(3000)
        endpoint.output(0)
        endpoint.receive(10, "ack 3000 win 0")
        endpoint.write(3000)
        endpoint.output(20)
        endpoint.expire(endpoint.deadline)
        endpoint.sends(endpoint.deadline, "3000:3001 ack 0")
        endpoint.receive(2 * SECOND, "0:500 ack 3000 win 0")
        endpoint.sends(2 * SECOND, "3000:3000 ack 500")

    def test_after_the_window_has_shrunk(self) -> None:
        """RFC 9293, section 3.8.6: no receiver should do that, and senders must live with it."""
        endpoint = Endpoint(delayed_ack_us=0)
        endpoint.write(3000)
        endpoint.sends(0, "0:1000 ack 0", "1000:2000 ack 0", "2000:3000 ack 0")
        endpoint.receive(10, "0:500 ack 1000 win 500")
        endpoint.sends(10, "1500:1500 ack 500")
        reset = record(SEGMENT)
        assert tcp_abort(endpoint.pcb, reset, 10)
        assert reset.seq == (endpoint.iss + 1500) % MODULUS

    @pytest.mark.parametrize(("window", "seq"), [(4000, 4007), (3992, 3992)])
    def test_what_the_scale_cuts_off_is_no_shrinking(self, window: int, seq: int) -> None:
        """Windows come in steps of 8 bytes here: of a window of 4,007 bytes the peer can announce 4,000."""
        endpoint = Endpoint(send_window=262_144, delayed_ack_us=0, cwnd=20_000)
        endpoint.write(4007)
        endpoint.pcb.no_delay = 1
        endpoint.output(0)
        endpoint.receive(10, f"0:500 ack 0 win {window}")
        endpoint.sends(10, f"{seq}:{seq} ack 500")


def test_an_echo_of_a_time_stamp_that_was_not_sent_is_no_round_trip() -> None:
    """A peer that echoes the future would have us take a microsecond for the round trip."""
    endpoint = Endpoint()
    endpoint.write(1000)
    endpoint.output(1000)
    endpoint.receive(50_000, "ack 1000 val 5 ecr 60000")
    assert endpoint.pcb.srtt_us == 0
