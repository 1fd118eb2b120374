"""A host without I/O: IP packets in, IP packets out, and the sockets between them and applications.

Finds the connection of each packet, and opens and forgets connections. Reads no clock; what is sent is the outbox's.
"""

import errno
from collections.abc import Mapping

import numpy as np

from netstack.host import core_calls, icmp, ip, secrets
from netstack.host.config import Address, EndpointConfig, check
from netstack.host.fragments import Reassembly
from netstack.host.ip import (
    HEADER_BYTES,
    TCP,
    addresses_of,
    connection_key,
    ends_of,
    header_template,
    is_unicast,
    key_of,
    packed,
    reverse_key,
    unpacked,
    version_of,
)
from netstack.host.listener import Listener
from netstack.host.memory import Memory
from netstack.host.options import TIMESTAMP_UNIT_US
from netstack.host.outbox import Outbox
from netstack.host.population import Population
from netstack.host.secrets import Secrets
from netstack.host.socket import TIME_WAIT, Socket
from netstack.tcp.connection import LISTEN_OPEN
from netstack.tcp.flags import TCP_OUTPUT, TCP_REPLY_RESET
from netstack.tcp.header import ACK, RST, SEGMENT, SYN
from netstack.tcp.pcb import window_scale
from netstack.tcp.sequence import seq_gt
from netstack.tcp.states import State

TCP_HEADER_BYTES = 20
FIRST_EPHEMERAL_PORT, LAST_PORT = 32768, 65535
LEAST_PATH_MTU_BYTES = {4: 552, 6: 1280}
"""The least that an ICMP message can ask for: attackers would make us send tiny segments (as Linux; RFC 8200, section 5).
Below it routers of IPv4 may fragment our packets."""
LARGEST_MTU_BYTES = 65535
MOST_PATHS = 4096
"""Whose MTU is remembered: the one that was heard of least recently makes room."""


def _mss(mtu_bytes: int, remote: str) -> int:
    """Return what a packet to `remote` carries behind bare headers."""
    return mtu_bytes - HEADER_BYTES[version_of(remote)] - TCP_HEADER_BYTES


class Endpoint:
    """A host with one or more addresses.

    Attributes:
        config: Settings; new ones hold for connections that are opened from then on.
        counters: What was received and dropped, by reason.
    """

    def __init__(self, config: EndpointConfig) -> None:
        """Raises ValueError if the configuration cannot be used."""
        check(config)
        self.config = config
        self.counters = dict.fromkeys(("received", "bad", "fragments", "not_for_us", "bad_source", "no_connection", "sent"), 0)
        self._own = {packed(host) for host in config.addresses}
        self._no_hosts = self._own | {packed(host) for host in config.broadcast_addresses}
        self._secrets = Secrets(config.seed)
        self._reassembly = Reassembly()
        self._segment = np.zeros(1, SEGMENT)
        self._segment_address: int = self._segment.ctypes.data
        self._outbox = Outbox()
        self._memory = Memory(config.memory_limit_bytes)
        self._sockets = Population()
        self._listeners: dict[tuple[bytes, int], Listener] = {}
        self._path_mtu: dict[str, int] = {}

    # Packets

    def receive(self, packet: bytes, now_us: int) -> None:
        """Process one IP packet."""
        self.counters["received"] += 1
        self._receive(packet, now_us)

    def _receive(self, packet: bytes, now_us: int) -> None:
        view = np.frombuffer(packet, np.uint8)
        payload = core_calls.read_packet(view, self._segment_address)
        if payload == core_calls.BAD_PACKET:
            self.counters["bad"] += 1
            return
        if payload == core_calls.NOT_TCP:
            self._receive_other(packet, now_us)
            return
        if payload == core_calls.FRAGMENT:
            self._receive_fragment(packet, now_us)
            return
        key = connection_key(packet)
        socket = self._sockets.get(key)
        old = None
        if socket is not None and socket.state_now == TIME_WAIT and self._listener_of(key) and self._may_reuse(socket):
            socket.give_way()
            socket, old = None, socket
        if socket is None:
            self._receive_without_connection(view, payload, key, old, now_us)
        elif socket.input(view, payload, self._segment_address, now_us) & TCP_REPLY_RESET:
            listener = socket.passive_of
            if not (isinstance(listener, Listener) and self._receive_cookie(listener, view, payload, key, now_us)):
                self._refuse(socket.template)

    def _receive_fragment(self, packet: bytes, now_us: int) -> None:
        self.counters["fragments"] += 1
        source, destination = addresses_of(packet)
        if not self._is_for_us(source, destination):
            return
        whole = self._reassembly.add(packet, now_us)
        if whole is not None:
            self._receive(whole, now_us)

    def _receive_without_connection(self, view: np.ndarray, payload: int, key: bytes, old: Socket | None, now_us: int) -> None:
        source, destination, _, _ = ends_of(key)
        if not self._is_for_us(source, destination):
            return
        listener = self._listener_of(key)
        if listener is not None:
            action = core_calls.listen_input(self._segment_address)
            if action == LISTEN_OPEN:
                self._open_passively(listener, view, payload, key, old, now_us)
                return
            if action == TCP_REPLY_RESET and self._receive_cookie(listener, view, payload, key, now_us):
                return
            if action != TCP_REPLY_RESET:
                return
        self.counters["no_connection"] += 1
        self._refuse(header_template(destination, source, TCP))

    def _is_for_us(self, source: bytes, destination: bytes) -> bool:
        """Return whether a packet is for this host and from another one; count it if not (RFC 9293, MUST-63)."""
        if destination not in self._own:
            self.counters["not_for_us"] += 1
            return False
        if source in self._no_hosts or not is_unicast(source):
            self.counters["bad_source"] += 1
            return False
        return True

    def _receive_cookie(self, listener: Listener, view: np.ndarray, payload: int, key: bytes, now_us: int) -> bool:
        """Open the connection whose cookie the decoded ACK brings; return False if it brings none and is to be refused."""
        if not listener.expects_cookies(now_us) or int(self._segment["flags"][0]) & (SYN | RST):
            return False
        if listener.full:
            listener.dropped += 1  # the peer sends its data again, with the cookie
            return True
        socket = self._open_by_cookie(listener, key, now_us)
        if socket is not None:
            socket.input(view, payload, self._segment_address, now_us)
            return True
        if self._secrets.is_cookie(key, (int(self._segment["ack"][0]) - 1) & 0xFFFFFFFF, now_us):
            listener.dropped += 1  # what would have opened the connection was lost, and comes again
            return True
        return False

    def _listener_of(self, key: bytes) -> Listener | None:
        _, destination, _, port = ends_of(key)
        return self._listeners.get((destination, port)) or self._listeners.get((bytes(len(destination)), port))

    def _refuse(self, template: np.ndarray) -> None:
        """Answer the decoded segment with a reset, unless it is one."""
        if core_calls.reply_reset(self._segment_address, self._outbox.segment_address):
            self._outbox.reply(template)

    def take_packets(self, now_us: int) -> list[bytes]:
        """Return what is to be sent now, in order."""
        packets = self._outbox.take()
        self.counters["sent"] += len(packets)
        return packets

    # Timers

    def next_deadline_us(self) -> int | None:
        """Return when `run_timers` must be called, None if no timer runs."""
        return self._outbox.next_deadline_us()

    def run_timers(self, now_us: int) -> None:
        """Run all timers that are due."""
        self._outbox.run_timers(now_us)

    # Connections

    def connect(
        self, remote: Address, now_us: int, local: Address | None = None, options: Mapping[str, int | str] | None = None
    ) -> Socket:
        """Open a connection with `options` as `Socket.set_option` takes them; it is established or has an error later.

        Raises:
            OSError: The remote address is not that of another host (RFC 9293, MUST-46); the local one is not ours, or in use; no
                port is free, or no more connections may be opened.
            ValueError: There is no such option, or not with this value.
        """
        if packed(remote.host) in self._no_hosts or not is_unicast(packed(remote.host)) or not 0 < remote.port <= LAST_PORT:
            raise OSError(errno.EADDRNOTAVAIL, f"{remote} is not an address of another host")
        host = local.host if local is not None else self._source_for(remote.host)
        if packed(host) not in self._own:
            raise OSError(errno.EADDRNOTAVAIL, f"{host} is not an address of this host")
        port = local.port if local is not None and local.port else self._free_port(host, remote)
        key = key_of(packed(remote.host), packed(host), remote.port, port)
        old = self._sockets.get(key)
        if old is not None and old.state_now != State.TIME_WAIT:
            raise OSError(errno.EADDRINUSE, f"{host}:{port} is connected to {remote} already")
        if old is not None:
            old.give_way()
        if not self._sockets.has_room(key, self.config):
            raise OSError(errno.ENOBUFS, "this host has as many connections as it may have")
        socket = self._new_socket(Address(host, port), remote)
        iss = self._initial_sequence(key, old, now_us)
        socket.pcb["max_retransmissions"] = self.config.syn_retries
        socket.pcb["use_ecn"] = self.config.ecn == 1
        socket.pcb["user_timeout_us"] = self.config.connect_timeout_us or self.config.user_timeout_us
        for name, value in (options or {}).items():
            socket.set_option(name, value, now_us)
        self._open(socket, key)
        core_calls.connect(socket.address, iss, now_us)
        self._opened(socket, State.SYN_SENT, now_us)
        return socket

    def listen(self, local: Address, backlog: int = 128) -> Listener:
        """Accept connections to `local`; the host ``0.0.0.0`` or ``::`` means all addresses of that version.

        Raises:
            OSError: The address is not ours, or somebody listens there.
        """
        host = packed(local.host)
        if host not in self._own and any(host):
            raise OSError(errno.EADDRNOTAVAIL, f"{local.host} is not an address of this host")
        if (host, local.port) in self._listeners:
            raise OSError(errno.EADDRINUSE, f"{local} is listened to already")
        listener = self._listeners[host, local.port] = Listener(local, backlog, self._unlisten)
        return listener

    def _unlisten(self, listener: Listener) -> None:
        """Drop a listener that was closed."""
        self._listeners.pop((packed(listener.local.host), listener.local.port), None)

    def forget(self, socket: Socket, /) -> None:
        """Drop a connection that has ended."""
        self._sockets.forget(socket)
        if socket.passive_of is not None:
            socket.passive_of.forget(socket)

    def closed(self, socket: Socket, now_us: int, /) -> None:
        """Note that the application has closed a connection that goes on."""
        self._sockets.orphan(socket, self.config, now_us)

    def waits(self, socket: Socket, /) -> None:
        """Note that a connection is in TIME-WAIT."""
        self._sockets.waits(socket)

    def interface_mss(self, remote: str) -> int:
        """Return what a packet to or from `remote` carries behind bare headers on our interface: the MSS of a SYN (RFC 6691)."""
        return _mss(self.config.mtu_bytes, remote)

    def path_mss(self, remote: str) -> int:
        """Return what a packet to `remote` carries behind bare headers, as far as is known of the path."""
        known_bytes = max(self._path_mtu.get(remote, self.config.mtu_bytes), LEAST_PATH_MTU_BYTES[version_of(remote)])
        return _mss(min(known_bytes, self.config.mtu_bytes), remote)

    @property
    def connections(self) -> list[Socket]:
        """All connections, in any state."""
        return self._sockets.sockets()

    def refusals(self) -> dict[str, int]:
        """Return what was dropped or refused because a limit was reached, by reason."""
        return {
            "connections_refused": self._sockets.refused,
            "orphans_dropped": self._sockets.orphans_dropped,
            "rings_refused": self._memory.refused,
            "replies_dropped": self._outbox.dropped,
            "cookies_sent": sum(listener.cookies_sent for listener in self._listeners.values()),
            "handshakes_dropped": sum(listener.dropped for listener in self._listeners.values()),
        }

    @property
    def payload_bytes(self) -> int:
        """What all connections hold for payload."""
        return self._memory.used_bytes

    def _initial_sequence(self, key: bytes, old: Socket | None, now_us: int) -> int:
        """Return an initial number, above all of an `old` connection between the same ends (RFC 9293, section 3.6.1)."""
        iss = self._secrets.initial_sequence(key, now_us)
        if old is not None and not seq_gt(iss, int(old.pcb["snd_max"])):
            iss = (int(old.pcb["snd_max"]) + 64000) & 0xFFFFFFFF
        return iss

    def _settings(self) -> EndpointConfig:
        return self.config

    def _new_socket(self, local: Address, remote: Address) -> Socket:
        template = header_template(packed(local.host), packed(remote.host), TCP)
        socket = Socket(local, remote, template, outbox=self._outbox, memory=self._memory, config=self._settings, keeper=self)
        if self._path_mtu.get(remote.host, LARGEST_MTU_BYTES) < LEAST_PATH_MTU_BYTES[version_of(remote.host)]:
            self._let_fragment(template)
        socket.pcb["own_mss"], socket.pcb["mss"] = self.interface_mss(remote.host), self.path_mss(remote.host)
        self._sockets.add(socket, self.config)
        return socket

    def _let_fragment(self, template: np.ndarray) -> None:
        """Let routers fragment the packets of a header: their links take less than we are willing to send (RFC 1191)."""
        template[core_calls.FLAGS_BYTE] &= ~core_calls.DF & 0xFF
        number = self._secrets.random.randrange(1 << 16)
        template[core_calls.FIRST_ID_BYTE : core_calls.FIRST_ID_BYTE + 2] = divmod(number, 256)

    def _open(self, socket: Socket, key: bytes) -> None:
        pcb = socket.pcb
        pcb["rcv_wnd"] = pcb["receive_buffer_bytes"] = socket.receive_buffer_bytes
        pcb["rcv_scale"] = self._window_scale(socket.receive_buffer_bytes)
        pcb["timestamp_offset"] = self._secrets.timestamp_offset(key)

    def _opened(self, socket: Socket, state: int, now_us: int) -> None:
        socket.state_now = state
        socket.open_buffers()
        self._outbox.output(socket, now_us)

    def _open_passively(
        self, listener: Listener, view: np.ndarray, payload: int, key: bytes, old: Socket | None, now_us: int
    ) -> None:
        """Answer a SYN: with a half-open connection, with a cookie if there are too many, or not at all."""
        if listener.full or not self._sockets.has_room(key, self.config):
            listener.dropped += 1
            return
        if listener.flooded:
            if self.config.syn_cookies:
                listener.sent_cookie(now_us, self._window_scale(self._receive_buffer_of(listener)))
                self._send_cookie(listener, key, now_us)
            else:
                listener.dropped += 1
            return
        socket = self._accepted_socket(listener, key)
        socket.pcb["max_retransmissions"] = self.config.synack_retries
        socket.pcb["linger_deadline_us"] = now_us + self.config.half_open_life_us
        listener.begin(socket)
        length = int(self._segment["length"][0])
        if length > 0:
            self._segment["length"] = min(length, socket.make_room(length))
        core_calls.accept(socket.address, self._segment_address, self._initial_sequence(key, old, now_us), now_us)
        self._opened(socket, State.SYN_RECEIVED, now_us)
        core_calls.keep_syn_data(view, payload, socket.address, socket.receive_ring)

    def _accepted_socket(self, listener: Listener, key: bytes) -> Socket:
        remote, local, remote_port, local_port = ends_of(key)
        socket = self._new_socket(Address(unpacked(local), local_port), Address(unpacked(remote), remote_port))
        socket.passive_of = listener
        for name, value in listener.options.items():
            socket.set_option(name, value, 0)
        socket.pcb["use_ecn"] = self.config.ecn > 0
        self._open(socket, key)
        return socket

    def _receive_buffer_of(self, listener: Listener) -> int:
        return int(listener.options.get("receive_buffer_bytes", self.config.receive_buffer_bytes))

    def _send_cookie(self, listener: Listener, key: bytes, now_us: int) -> None:
        """Answer the SYN in the segment record and keep nothing."""
        syn, reply = self._segment[0], self._outbox.segment[0]
        remote, local, _, _ = ends_of(key)
        peer_mss = int(syn["mss"]) or self.config.default_mss_bytes
        timestamps = bool(syn["has_timestamps"]) and self.config.timestamps
        scale = int(syn["wscale"]) if timestamps and self.config.window_scaling else -1
        sack = timestamps and self.config.sack and bool(syn["sack_permitted"])
        stamp = (now_us // TIMESTAMP_UNIT_US + self._secrets.timestamp_offset(key)) & 0xFFFFFFFF
        reply["source_port"], reply["destination_port"] = syn["destination_port"], syn["source_port"]
        reply["seq"] = self._secrets.cookie(key, int(syn["seq"]), peer_mss, now_us)
        reply["ack"] = (int(syn["seq"]) + 1) & 0xFFFFFFFF
        reply["flags"] = SYN | ACK
        reply["window"] = min(self._receive_buffer_of(listener), 65535)
        reply["length"] = reply["ecn"] = reply["sack_count"] = 0
        reply["has_timestamps"], reply["ts_ecr"] = timestamps, syn["ts_val"]
        reply["ts_val"] = secrets.cookie_timestamp(stamp, scale, sack)
        reply["mss"] = self.interface_mss(unpacked(remote))
        reply["wscale"] = listener.cookie_scale if scale >= 0 else -1
        reply["sack_permitted"] = sack
        self._outbox.reply(header_template(local, remote, TCP))

    def _open_by_cookie(self, listener: Listener, key: bytes, now_us: int) -> Socket | None:
        """Return the connection whose handshake the ACK in the segment record completes with a cookie, None if it has none."""
        if not self._sockets.has_room(key, self.config):
            return None
        syn = self._segment.copy()
        segment = syn[0]
        iss, irs = (int(segment["ack"]) - 1) & 0xFFFFFFFF, (int(segment["seq"]) - 1) & 0xFFFFFFFF
        mss = self._secrets.cookie_mss(key, irs, iss, now_us)
        if mss is None:
            return None
        half_open = self._sockets.get(key)
        if half_open is not None:
            half_open.give_way()  # there was room for a second SYN, but the peer knows the first answer only
        segment["seq"], segment["mss"], segment["flags"] = irs, mss, SYN
        if segment["has_timestamps"]:
            scale, sack = secrets.cookie_options(int(segment["ts_ecr"]))
            segment["wscale"], segment["sack_permitted"] = scale, sack
        socket = self._accepted_socket(listener, key)
        socket.pcb["rcv_scale"] = listener.cookie_scale  # which the peer knows, whatever the options are by now
        listener.begin(socket)
        core_calls.accept_cookie(socket.address, syn.ctypes.data, iss, now_us)
        self._opened(socket, State.SYN_RECEIVED, now_us)
        return socket

    def _window_scale(self, receive_buffer_bytes: int) -> int:
        """Return the scale to offer: that of the largest size to which the buffer may grow."""
        return window_scale(max(receive_buffer_bytes, self.config.receive_buffer_limit_bytes))

    def _may_reuse(self, socket: Socket) -> bool:
        """Whether the decoded segment may open a connection anew that is in TIME-WAIT (RFC 9293, section 3.10.7.4; RFC 6191)."""
        segment, pcb = self._segment[0], socket.pcb
        if int(segment["flags"]) & (SYN | ACK | RST) != SYN:
            return False
        higher = bool(seq_gt(int(segment["seq"]), int(pcb["rcv_nxt"])))
        if not (segment["has_timestamps"] and self.config.timestamps):
            return higher
        stamp, recent = int(segment["ts_val"]), int(pcb["ts_recent"])
        return not pcb["use_timestamps"] or bool(seq_gt(stamp, recent)) or (stamp == recent and higher)

    def _source_for(self, remote: str) -> str:
        for host in self.config.addresses:
            if version_of(host) == version_of(remote):
                return host
        raise OSError(errno.ENETUNREACH, f"this host has no address of the version of {remote}")

    def _free_port(self, host: str, remote: Address) -> int:
        """Return an ephemeral port, drawn at random (RFC 6056)."""
        size = LAST_PORT - FIRST_EPHEMERAL_PORT + 1
        first = self._secrets.random.randrange(size)
        foreign, own = packed(remote.host), packed(host)
        for offset in range(size):
            port = FIRST_EPHEMERAL_PORT + (first + offset) % size
            if key_of(foreign, own, remote.port, port) not in self._sockets and (own, port) not in self._listeners:
                return port
        raise OSError(errno.EADDRNOTAVAIL, f"no port of {host} is free")

    # ICMP

    def _receive_other(self, packet: bytes, now_us: int) -> None:
        message = icmp.message_of(packet)
        source, destination = addresses_of(packet)
        if message is None:
            self.counters["not_for_us"] += 1
            return
        if not self._is_for_us(source, destination):
            return
        reply = icmp.echo_reply(*message, destination, source)
        if reply is not None:
            answer = ip.with_header(header_template(destination, source, message[0]), reply)
            if len(answer) <= self.config.mtu_bytes:  # a request in fragments may be larger, and we send none
                self._outbox.put(answer)
            return
        error = icmp.error_of(*message)
        if error is not None:
            self._receive_icmp_error(error, now_us)

    def _receive_icmp_error(self, error: icmp.IcmpError, now_us: int) -> None:
        """Apply an error message about a segment of ours, if that is outstanding (RFC 5927, section 4.1)."""
        socket = self._sockets.get(reverse_key(error.key))
        if socket is None or not core_calls.outstanding(socket.address, error.seq):
            return
        if error.trouble is icmp.Trouble.TOO_BIG:
            remote = socket.remote.host
            self._note_path_mtu(remote, error.mtu_bytes)
            least = LEAST_PATH_MTU_BYTES[version_of(remote)]
            if error.mtu_bytes < least and version_of(remote) == 4:
                self._let_fragment(socket.template)
            if core_calls.path_mtu(socket.address, _mss(max(error.mtu_bytes, least), remote)) & TCP_OUTPUT:
                self._outbox.output(socket, now_us)
            return
        icmp.apply_error(socket, error.trouble, self.config.platform)

    def _note_path_mtu(self, remote: str, mtu_bytes: int) -> None:
        known = self._path_mtu.pop(remote, self.config.mtu_bytes)
        self._path_mtu[remote] = min(mtu_bytes, known)
        if len(self._path_mtu) > MOST_PATHS:
            del self._path_mtu[next(iter(self._path_mtu))]
