"""One end of a connection, driven as a packet trace is read: what is written and received when, and what it then sends.

A segment is written as in tcpdump: ``"1000:2000 ack 500 win 64000 val 7 ecr 3"``, or ``"ack 500"`` without payload. Numbers are
relative to the first byte of each direction (both wrap around 2**32 soon after), windows are in bytes, times in us.
"""

import re
from typing import Any

import numpy as np

from netstack.tcp.flags import TCP_OUTPUT
from netstack.tcp.header import ACK, SEGMENT
from netstack.tcp.input import tcp_input
from netstack.tcp.output import tcp_output, tcp_output_refused
from netstack.tcp.pcb import COLD, PCB, pcb_init
from netstack.tcp.timers import tcp_next_deadline_us, tcp_timeout

MODULUS = 1 << 32
ISS, IRS = MODULUS - 1500, MODULUS - 2500
LOCAL, FOREIGN = (0x0A000001, 5001), (0x0A000002, 1024)
NOTATION = re.compile(r"(?:(\d+):(\d+) )?ack (\d+)(?: win (\d+))?(?: val (\d+) ecr (\d+))?")


class Record(np.record):
    """A record with its fields as attributes, `flags` too, which NumPy hides behind an attribute of its own."""

    flags = property(lambda self: self["flags"])
    __repr__ = object.__repr__


def record(dtype: np.dtype) -> Any:
    """Return a zeroed record, for compiled and for interpreted functions."""
    return np.zeros(1, np.dtype((Record, dtype)))[0]


def new_pcb() -> tuple[Any, Any]:
    """Return a zeroed pcb and its cold state. Each keeps the memory of both."""
    both = np.zeros(1, [("pcb", (Record, PCB)), ("cold", (Record, COLD))])
    pcb, cold = both["pcb"][0], both["cold"][0]
    pcb.cold_address = cold.__array_interface__["data"][0]
    return pcb, cold


class Endpoint:
    """A pcb and the host around it, which calls `tcp_output` only when TCP asked for it."""

    def __init__(
        self,
        mss: int = 1000,
        send_window: int = 64000,
        receive_buffer: int = 64000,
        delayed_ack_us: int = 100_000,
        min_rto_us: int = 200_000,
        cwnd: int = 0,
        iss: int = ISS,
        irs: int = IRS,
    ) -> None:
        """Open a connection; `cwnd` is a congestion window other than the initial one."""
        self.iss, self.irs = iss, irs
        self.pcb, self.cold = new_pcb()
        pcb_init(self.pcb, *LOCAL, *FOREIGN, iss, irs, mss, send_window, receive_buffer, delayed_ack_us, min_rto_us)
        if cwnd:
            self.pcb.snd_cwnd = cwnd
        self.flags = 0
        self.output_due = False
        self.window = send_window
        self.peer_next = 0
        self.echo = 0

    def write(self, count: int) -> None:
        """The application writes `count` bytes."""
        self.pcb.send_buffered_bytes += count
        self.output_due = True

    def receive(self, at: int, text: str) -> None:
        """A segment arrives. Unless told, its window is the last one offered, its time stamps are of a peer without delay."""
        fields = parse(text)
        self.window = fields.get("win", self.window)
        segment = record(SEGMENT)
        segment.flags = ACK
        start, end = fields.get("start", self.peer_next), fields.get("end", self.peer_next)
        self.peer_next = max(self.peer_next, end)
        segment.seq, segment.length = (self.irs + start) % MODULUS, end - start
        segment.ack = (self.iss + fields["ack"]) % MODULUS
        segment.window = self.window >> int(self.pcb.snd_scale)
        segment.has_timestamps = 1
        segment.ts_val, segment.ts_ecr = fields.get("val", at), fields.get("ecr", self.echo)
        self.receive_segment(at, segment)

    def receive_segment(self, at: int, segment: Any) -> None:
        """A segment arrives as it is."""
        self._take_flags(tcp_input(self.pcb, segment, at))

    def expire(self, at: int) -> None:
        """The host's clock has come to `at`: run the timers."""
        self._take_flags(tcp_timeout(self.pcb, at))

    def _take_flags(self, flags: int) -> None:
        self.flags = flags
        self.output_due = self.output_due or bool(flags & TCP_OUTPUT)

    def output(self, at: int) -> list[Any]:
        """Return the segments that TCP has to send."""
        segments = []
        while self.output_due:
            segment = record(SEGMENT)
            self.output_due = bool(tcp_output(self.pcb, segment, at))
            if self.output_due:
                self.echo = int(segment.ts_val)
                segments.append(segment)
            assert len(segments) < 1000, "output does not end"
        return segments

    def sends(self, at: int, *expected: str) -> None:
        """Exactly these segments leave; fields that the text leaves out may be anything."""
        sent = self.output(at)
        fields = [set(parse(text)) for text in expected] + [{"start", "end", "ack"}] * len(sent)
        assert [self.describe(segment, names) for segment, names in zip(sent, fields, strict=False)] == list(expected)

    def refuse(self, at: int) -> str:
        """TCP builds its next segment and the interface has no room for it; return the segment."""
        segment = record(SEGMENT)
        assert tcp_output(self.pcb, segment, at)
        tcp_output_refused(self.pcb, segment, at)
        self.output_due = False
        return self.describe(segment, {"start", "ack"})

    def describe(self, segment: Any, names: set[str]) -> str:
        """Return a sent segment in the notation of traces, with these fields."""
        start = (int(segment.seq) - self.iss) % MODULUS
        text = f"{start}:{start + int(segment.length)} " if segment.length or "start" in names else ""
        text += f"ack {(int(segment.ack) - self.irs) % MODULUS}"
        if "win" in names:
            text += f" win {int(segment.window) << int(self.pcb.rcv_scale)}"
        if "val" in names:
            text += f" val {segment.ts_val} ecr {segment.ts_ecr}"
        return text

    @property
    def deadline(self) -> int:
        """When the host must call the timers, 0 for never."""
        return int(tcp_next_deadline_us(self.pcb))


def parse(text: str) -> dict[str, int]:
    """Return the fields that a segment's notation names."""
    match = NOTATION.fullmatch(text)
    assert match, f"not a segment: {text!r}"
    names = ("start", "end", "ack", "win", "val", "ecr")
    return {name: int(value) for name, value in zip(names, match.groups(), strict=True) if value is not None}
