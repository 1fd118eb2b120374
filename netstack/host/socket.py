"""A connection as its application sees it: bytes in, bytes out, state and errors. Never waits, and reads no clock.

What a socket has to send, it hands to the outbox of its host at once. Knows the core only through `core_calls`, and no endpoint.
"""

import errno
import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from netstack.host import buffers, core_calls
from netstack.host.config import Address, EndpointConfig
from netstack.host.ip import HEADER_FIELDS, get_header_field, key_of, packed, set_header_field
from netstack.host.memory import NO_RING, Memory
from netstack.host.options import CONGESTION, check_option, configure, get_from_pcb, set_in_pcb
from netstack.host.outbox import Outbox
from netstack.host.report import report
from netstack.tcp.flags import TCP_ACKED, TCP_CLOSED, TCP_CONNECTED, TCP_DELIVERED, TCP_FINISHED, TCP_OUTPUT, TCP_SEND_RESET
from netstack.tcp.pcb import COLD, PCB
from netstack.tcp.scoreboard import SCOREBOARD
from netstack.tcp.states import End, State
from netstack.tcp.style import FREEBSD

NEWS = TCP_ACKED | TCP_DELIVERED | TCP_CONNECTED | TCP_FINISHED
"""What an application waits for, beside the end."""
CLOSED, SYN_RECEIVED, ESTABLISHED = int(State.CLOSED), int(State.SYN_RECEIVED), int(State.ESTABLISHED)
CLOSE_WAIT, TIME_WAIT = int(State.CLOSE_WAIT), int(State.TIME_WAIT)
"""Plain numbers for what runs several times per packet: Python 3.11 takes as long to find a member as for a short call."""


class Acceptor(Protocol):
    """The listener of a connection that the peer opened."""

    def established(self, socket: "Socket", /) -> None:
        """Let a connection whose handshake is done wait for `accept`."""
        ...

    def forget(self, socket: "Socket", /) -> None:
        """Drop a half-open connection that ended."""
        ...


class Keeper(Protocol):
    """Who keeps a host's connections."""

    def forget(self, socket: "Socket", /) -> None:
        """Drop a connection that has ended."""
        ...

    def closed(self, socket: "Socket", now_us: int, /) -> None:
        """Note that the application has closed a connection that goes on."""
        ...

    def waits(self, socket: "Socket", /) -> None:
        """Note that a connection is in TIME-WAIT."""
        ...


class Socket:
    """One connection.

    Attributes:
        local, remote: Addresses of both ends.
        key: By which packets of the peer are found.
        error: What the next `send` or `receive` raises, once; None if all is well.
        state_now: The number of `state`.
        soft_error: What routers reported: the reason if the connection times out (RFC 1122, section 4.2.3.9).
    """

    __slots__ = (  # found as fast however many they are, and smaller than a dictionary
        *("local", "remote", "error", "soft_error", "template", "passive_of", "timer", "deadline_us", "address", "state_now"),
        *("unread_bytes", "unacknowledged_bytes", "receive_buffer_bytes", "receive_ring", "send_ring", "key"),
        *("_outbox", "_memory", "_config", "_keeper", "_changed", "_record", "_cold", "_scoreboard", "_results", "_finished"),
        *("_shut", "_closed", "_read_seq", "_write_seq", "_send_buffer_bytes", "_connect_timeout_us", "_linger_s", "__weakref__"),
    )

    def __init__(
        self,
        local: Address,
        remote: Address,
        template: np.ndarray,
        *,
        outbox: Outbox,
        memory: Memory,
        config: Callable[[], EndpointConfig],
        keeper: Keeper,
    ) -> None:
        """Prepare a closed connection; the endpoint opens it.

        Args:
            local: Address of this end.
            remote: Address of the peer.
            template: The IP header of its packets.
            outbox: Takes what the connection sends, and its deadlines.
            memory: Hands out rings for payload.
            config: Returns the settings of the host at the moment.
            keeper: Is told of the connection's end.
        """
        settings = config()
        self.local = local
        self.remote = remote
        self.key = key_of(packed(remote.host), packed(local.host), remote.port, local.port)
        self.error: OSError | None = None
        self.soft_error: OSError | None = None
        self.template = template
        self.passive_of: Acceptor | None = None
        self.timer: list[Any] | None = None
        self.deadline_us = 0
        self._outbox = outbox
        self._memory = memory
        self._config = config
        self._keeper = keeper
        self._changed: Callable[[], None] | None = None
        self._record = np.zeros(1, PCB)
        self.address: int = self._record.ctypes.data
        self._cold = np.zeros(1, COLD)
        self._scoreboard = np.zeros(1, SCOREBOARD)
        self._results = np.zeros(core_calls.RESULTS, np.int64)
        self.state_now = State.CLOSED
        self._finished = False  # by the peer
        self._shut = False
        self._closed = False
        self._read_seq = 0
        self._write_seq = 0
        self.unread_bytes = 0
        self.unacknowledged_bytes = 0
        self.receive_buffer_bytes = settings.receive_buffer_bytes
        self._send_buffer_bytes = settings.send_buffer_bytes
        self._connect_timeout_us = settings.connect_timeout_us
        self.receive_ring = NO_RING
        self.send_ring = NO_RING
        self._linger_s = -1
        pcb = self.pcb
        pcb["local_port"], pcb["foreign_port"] = local.port, remote.port
        pcb["cold_address"], pcb["scoreboard_address"] = self._cold.ctypes.data, self._scoreboard.ctypes.data
        configure(pcb, self.cold, self.scoreboard, settings)

    @property
    def pcb(self) -> Any:
        """The protocol control block, for statistics and tests."""
        return self._record[0]

    @property
    def cold(self) -> Any:
        """The cold state of the protocol control block."""
        return self._cold[0]

    @property
    def scoreboard(self) -> Any:
        """The record of transmissions, for statistics and tests."""
        return self._scoreboard[0]

    # What the application may ask and do

    def watch(self, changed: Callable[[], None] | None) -> None:
        """Call `changed` whenever something comes that the application may wait for, or the connection ends; None stops it."""
        self._changed = changed

    @property
    def state(self) -> State:
        """The state of RFC 9293, section 3.3.2."""
        return State(self.state_now)

    @property
    def passive(self) -> bool:
        """Whether the peer opened the connection."""
        return self.passive_of is not None

    @property
    def retries(self) -> int:
        """Timeouts in a row."""
        return int(self.pcb["rexmt_shift"])

    @property
    def readable(self) -> bool:
        """Whether `receive` has a result: bytes, the end, or an error."""
        return self.unread_bytes > 0 or self._finished or self.error is not None or self._ended

    @property
    def writable(self) -> bool:
        """Whether `send` would take at least a byte now."""
        if self._shut or not (self.state_now == ESTABLISHED or self.state_now == CLOSE_WAIT):
            return False
        return self.unacknowledged_bytes < self._send_buffer_bytes

    @property
    def finished(self) -> bool:
        """Whether the peer has finished sending."""
        return self._finished

    @property
    def unsent_bytes(self) -> int:
        """Bytes in the send buffer that have not been sent."""
        pcb = self.pcb
        sent = (int(pcb["snd_max"]) - int(pcb["snd_una"])) & 0xFFFFFFFF
        return max(self.unacknowledged_bytes - sent, 0)

    @property
    def outgoing_bytes(self) -> int:
        """Bytes that were not acknowledged; a FIN counts as one, as in SIOCOUTQ of Linux."""
        pcb = self.pcb
        fin = bool(pcb["fin_queued"]) and ((int(pcb["snd_una"]) - int(pcb["fin_seq"]) - 1) & 0xFFFFFFFF) >= 1 << 31
        return self.unacknowledged_bytes + fin

    @property
    def send_room_bytes(self) -> int:
        """Bytes that `send` would take."""
        return max(self._send_buffer_bytes - self.unacknowledged_bytes, 0)

    @property
    def at_eof(self) -> bool:
        """Whether the peer has finished sending and everything was received."""
        return self.unread_bytes == 0 and (self._finished or self._ended)

    @property
    def _ended(self) -> bool:
        return self.state_now == CLOSED and self.error is None

    def send(self, data: bytes | bytearray | memoryview, now_us: int, ends_record: bool = False) -> int:
        """Take bytes to be sent; return how many there was room for.

        If the last of them `ends_record`, what follows begins a segment of its own, as with MSG_EOR of Linux.

        Raises:
            OSError: The pending `error`, or BrokenPipeError after the end.
        """
        self._raise_error()
        if self._shut or self.state_now == CLOSED or self.state_now > CLOSE_WAIT:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        if self.state_now < ESTABLISHED:
            return 0
        count = min(len(data), self._send_buffer_bytes - self.unacknowledged_bytes)
        if self.unacknowledged_bytes + count > len(self.send_ring):
            self._grow_send_ring(self.unacknowledged_bytes + count)
            count = min(count, len(self.send_ring) - self.unacknowledged_bytes)
        if count <= 0:
            return 0
        buffers.put(self.send_ring, self._write_seq, memoryview(data)[:count])
        self._write_seq = (self._write_seq + count) & 0xFFFFFFFF
        self.unacknowledged_bytes += count
        core_calls.written(self.address, count)
        if ends_record and count == len(data):
            core_calls.record_ends(self.address, self._write_seq)
        self._outbox.output(self, now_us)
        return count

    def receive(self, limit: int, now_us: int) -> bytes:
        """Return up to `limit` bytes; ``b""`` if there is nothing yet, or at the end (see `at_eof`).

        Raises:
            OSError: The pending `error`.
        """
        if self.unread_bytes == 0:
            self._raise_error()
            return b""
        data = self.peek(limit)
        count = len(data)
        self._read_seq = (self._read_seq + count) & 0xFFFFFFFF
        self.unread_bytes -= count
        if core_calls.received(self.address, self.unread_bytes) & TCP_OUTPUT:
            self._outbox.output(self, now_us)
        if self.unread_bytes == 0 and (self._memory.is_short or self.state_now == CLOSED):
            self._give_back_receive_ring()
        return data

    def peek(self, limit: int) -> bytes:
        """Return what `receive` would, and leave it there."""
        return buffers.get(self.receive_ring, self._read_seq, min(limit, self.unread_bytes))

    def shutdown(self, now_us: int) -> None:
        """Send nothing more: a FIN follows what is buffered. The peer may go on."""
        if not self._shut:
            self._shut = True
            core_calls.close(self.address, self._results, False, now_us)
            self._apply(now_us)

    def close(self, now_us: int) -> None:
        """Neither send nor receive from now on. Unread bytes mean a reset: the peer would think that they arrived (RFC 2525).

        So does the option `linger_s` at 0, as SO_LINGER of other systems; at other values it changes nothing. FreeBSD drops what
        is unread without a reset, and an unfinished handshake without any.
        """
        if self._closed:
            return
        self._closed = True
        freebsd = self.pcb["style"] == FREEBSD
        aborts = self._linger_s == 0 or (self.unread_bytes > 0 and not freebsd)
        if self.state_now == CLOSED or (aborts and not (freebsd and self.state_now < ESTABLISHED)):
            self.abort(now_us)
            return
        self._shut = True
        if not freebsd:
            self._limit_what_is_left(now_us)
        core_calls.close(self.address, self._results, True, now_us)
        self._apply(now_us)
        self.unread_bytes = 0
        if self.state_now != CLOSED:
            self._give_back_receive_ring()
            self._keeper.closed(self, now_us)

    def _limit_what_is_left(self, now_us: int) -> None:
        """Give the peer of a closed connection only so much time: the application waits no more (RFC 6429)."""
        config, pcb = self._config(), self.pcb
        own_us = int(pcb["user_timeout_us"])
        pcb["user_timeout_us"] = min(own_us, config.orphan_timeout_us) if own_us else config.orphan_timeout_us
        if pcb["linger_deadline_us"] == 0:
            pcb["linger_deadline_us"] = now_us + config.orphan_life_us

    def abort(self, now_us: int) -> None:
        """End the connection with a reset."""
        self._closed = self._shut = True
        if self.state_now == State.CLOSED:
            self.unread_bytes = 0
            self._give_back_receive_ring()
            return
        if core_calls.abort(self.address, self._outbox.segment_address, now_us):
            self._outbox.reply(self.template)
        self._end()

    # What the endpoint and the outbox call

    def open_buffers(self) -> None:
        """Begin with empty rings, which grow with what comes; the sequence numbers are known now."""
        self._write_seq = int(self.pcb["iss"]) + 1 & 0xFFFFFFFF

    def input(self, packet: np.ndarray, payload: int, segment_address: int, now_us: int) -> int:
        """Process a packet whose segment the endpoint has decoded; return the flags of the core."""
        ring, unread_bytes, results = self.receive_ring, self.unread_bytes, self._results
        needed = core_calls.input_segment(packet, payload, self.address, segment_address, ring, unread_bytes, results, now_us)
        if needed:
            ring = self._grow_receive_ring(needed)
            core_calls.trim_segment(self.address, segment_address, ring, unread_bytes)
            core_calls.input_segment(packet, payload, self.address, segment_address, ring, unread_bytes, results, now_us)
        return self._apply(now_us)

    def make_room(self, count: int) -> int:
        """Allocate room for `count` bytes of a SYN, as far as the window allows; return how many there is room for."""
        return len(self._grow_receive_ring(min(count, int(self.pcb["rcv_wnd"]))))

    def _grow_receive_ring(self, needed_bytes: int) -> np.ndarray:
        ring, first = self.receive_ring, (int(self.pcb["rcv_nxt"]) - self.unread_bytes) & 0xFFFFFFFF
        self.receive_ring = self._memory.grow(self.remote.host, ring, first, len(ring), needed_bytes)
        return self.receive_ring

    def _grow_send_ring(self, needed_bytes: int) -> None:
        held = self.unacknowledged_bytes
        first = (self._write_seq - held) & 0xFFFFFFFF
        self.send_ring = self._memory.grow(self.remote.host, self.send_ring, first, held, needed_bytes)

    def _give_back_receive_ring(self) -> None:
        """Keep no ring, unless something in it is still to be read."""
        nobody_reads = self._closed or self.state_now == CLOSED
        if self.unread_bytes == 0 and (nobody_reads or self.pcb["reordered_count"] == 0):
            self.receive_ring = self._memory.give_back(self.remote.host, self.receive_ring)

    def _give_back_send_ring(self) -> None:
        self.send_ring = self._memory.give_back(self.remote.host, self.send_ring)

    def expire(self, now_us: int) -> None:
        """Run the timers that expired."""
        core_calls.run_timers(self.address, self._results, now_us)
        self._apply(now_us)

    def _apply(self, now_us: int) -> int:
        """Apply what the core reports, and send what it wants to send."""
        flags, delivered, acked, deadline_us, state = self._results.tolist()
        before, self.state_now = self.state_now, state
        if flags & TCP_CONNECTED or before <= SYN_RECEIVED < state:
            self._read_seq = (int(self.pcb["irs"]) + 1) & 0xFFFFFFFF
            self._connected(now_us)
        self.unread_bytes += delivered
        self.unacknowledged_bytes -= acked
        if acked and self.unacknowledged_bytes == 0 and self._memory.is_short:
            self._give_back_send_ring()
        if flags & TCP_FINISHED:
            self._finished = True
        if state == TIME_WAIT != before:
            self._keeper.waits(self)
            self._give_back_send_ring()
            self._give_back_receive_ring()
        if flags & TCP_CLOSED:
            if flags & TCP_SEND_RESET:
                core_calls.own_reset(self.address, self._outbox.segment_address, now_us)
                self._outbox.reply(self.template)
            self._fail(End(int(self.pcb["ended"])), before)
            return flags
        if flags & TCP_OUTPUT:
            self._outbox.output(self, now_us)
        else:
            self._outbox.schedule(self, deadline_us)
        if flags & NEWS and self._changed is not None:
            self._changed()
        return flags

    def _connected(self, now_us: int) -> None:
        config = self._config()
        self.pcb["max_retransmissions"] = config.data_retries
        if self.pcb["style"] == FREEBSD:
            mss = min(int(self.pcb["own_mss"]), int(self.pcb["peer_mss"]))
            self._send_buffer_bytes = -(-self._send_buffer_bytes // mss) * mss
        self.pcb["linger_deadline_us"] = now_us + config.orphan_life_us if self._closed else 0
        self._start_keepalive(now_us)
        if self._connect_timeout_us:
            self.pcb["user_timeout_us"] = config.user_timeout_us
        if self.passive_of is not None:
            self.passive_of.established(self)

    def _fail(self, reason: End, before: int) -> None:
        if reason == End.TIMED_OUT:
            self.error = self.soft_error or TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        elif reason == End.REFUSED:
            self.error = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        elif reason == End.RESET and before == State.CLOSE_WAIT and self.pcb["style"] != FREEBSD:
            self.error = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        elif reason == End.RESET and before < State.TIME_WAIT:
            self.error = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        self._end()

    def fail(self, error: OSError) -> None:
        """End an attempt to connect for a reason outside of TCP."""
        self.error = error
        self._end()

    def give_way(self) -> None:
        """End a connection in TIME-WAIT, because its addresses and ports are used anew."""
        self._end()

    def _end(self) -> None:
        self.state_now = State.CLOSED
        self.pcb["state"] = State.CLOSED
        self._shut = True
        self._outbox.forget(self)
        self._give_back_send_ring()
        self._give_back_receive_ring()
        self._keeper.forget(self)
        if self._changed is not None:
            self._changed()

    def _raise_error(self) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    # Options

    def set_option(self, name: str, value: int | str, now_us: int) -> None:
        """Set an option of this connection by its name in `EndpointConfig`, or one of the sockets' own.

        Raises:
            ValueError: There is no such option, or not with this value.
        """
        check_option(name, value)
        pcb, cold = self.pcb, self.cold
        number = CONGESTION[str(value)] if name == "congestion_control" else int(value)
        if name == "keepalive":
            cold["keepalive_idle_us"] = (cold["keepalive_idle_us"] or self._config().keepalive_idle_us) if number else 0
            self._start_keepalive(now_us)
        elif name == "keepalive_idle_us":
            cold["keepalive_idle_us"] = number
            self._start_keepalive(now_us)
        elif name == "linger_s":
            self._linger_s = number
        elif name in HEADER_FIELDS:
            set_header_field(self.template, name, number)
        elif set_in_pcb(pcb, cold, name, number):
            if self.state_now >= State.ESTABLISHED:
                self._outbox.output(self, now_us)
        elif name == "connect_timeout_us" and self.state_now <= State.SYN_SENT:
            self._connect_timeout_us = pcb["user_timeout_us"] = number
        elif name == "send_buffer_bytes":
            self._send_buffer_bytes = number
        elif name == "receive_buffer_bytes":
            self._resize_receive_buffer(number)
        else:
            raise ValueError(f"{name}: no such option of a connection that is {self.state.name}")

    def _resize_receive_buffer(self, size_bytes: int) -> None:
        """Change the limit. Announced room stays."""
        self.receive_buffer_bytes = size_bytes
        if self.state_now > State.LISTEN:
            self.pcb["receive_buffer_bytes"] = size_bytes
            self.pcb["rcv_wnd"] = max(size_bytes - self.unread_bytes, 0)

    def _start_keepalive(self, now_us: int) -> None:
        if self.state_now >= ESTABLISHED:  # else it begins with the connection
            idle_us = int(self.cold["keepalive_idle_us"])
            self.pcb["keepalive_deadline_us"] = now_us + idle_us if idle_us else 0
            self._outbox.output(self, now_us)

    def get_option(self, name: str) -> int | str:
        """Return an option as `set_option` takes it."""
        own = {
            "send_buffer_bytes": self._send_buffer_bytes,
            "receive_buffer_bytes": int(self.pcb["receive_buffer_bytes"]) or self.receive_buffer_bytes,
            "connect_timeout_us": self._connect_timeout_us,
            "linger_s": self._linger_s,
        }
        if name in own:
            return own[name]
        return get_header_field(self.template, name) if name in HEADER_FIELDS else get_from_pcb(self.pcb, self.cold, name)

    def info(self) -> dict[str, int]:
        """Return what TCP_INFO of Linux contains, by its names and in its units (us, segments)."""
        return report(self.pcb, self.cold, self.scoreboard, self.passive, self.unsent_bytes)
