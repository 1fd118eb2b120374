"""Random and mutated segments into connections in every state, judged by RFC 9293's rules written down a second time.

    python -m tests.host.fuzz_segments --segments 1000000

Each connection is brought into a state by a conversation, gets a few segments with reads, writes, timers and closes between
them, and is thrown away. After each segment the invariants of its sequence numbers and the state that it may be in are checked.
"""

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.progress import Progress

from netstack.host import Address, Endpoint, EndpointConfig, Socket
from netstack.host.ip import header_template, internet_checksum, packed, with_header
from netstack.tcp.scoreboard import DOUBLED, IN_FLIGHT, LOST, SACKED, CongestionState
from netstack.tcp.states import State

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
MODULUS = 1 << 32
HOST, PEER = "10.0.0.2", "10.0.0.1"
SEGMENTS_A_CONNECTION = 12
STATES = [
    State.CLOSED,
    State.LISTEN,
    State.SYN_SENT,
    State.SYN_RECEIVED,
    State.ESTABLISHED,
    State.CLOSE_WAIT,
    State.FIN_WAIT_1,
    State.FIN_WAIT_2,
    State.CLOSING,
    State.LAST_ACK,
    State.TIME_WAIT,
]
WITHOUT_CONNECTION = (State.CLOSED, State.LISTEN)
TEMPLATE = header_template(packed(PEER), packed(HOST), 6)


@dataclass
class Segment:
    """What the fuzzer sends, before it may be garbled."""

    seq: int
    ack: int
    flags: int
    window: int = 60000
    payload: bytes = field(default=b"", repr=False)
    ts_val: int | None = None
    ts_ecr: int = 0
    options: bytes = b""

    @property
    def length(self) -> int:
        return len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)


def offset(a: int, b: int) -> int:
    """The signed distance from b to a."""
    return (a - b + (1 << 31)) % MODULUS - (1 << 31)


class Peer:
    """The other end: builds packets, and knows how to bring a connection into a state."""

    def __init__(self, generator: random.Random, timestamps: bool) -> None:
        self.random = generator
        self.config = EndpointConfig(
            addresses=(HOST,),
            seed=generator.randrange(1 << 30),
            timestamps=timestamps,
            sack=generator.random() < 0.8,
            ecn=generator.choice([0, 1, 2]),
            congestion_control=generator.choice(["reno", "cubic"]),
            receive_buffer_bytes=generator.choice([2000, 8192, 100_000]),
            send_buffer_bytes=generator.choice([2000, 100_000]),
        )
        self.endpoint = Endpoint(self.config)
        self.now = generator.randrange(1, 1 << 40)
        self.iss = generator.choice([generator.randrange(MODULUS), MODULUS - generator.randrange(1, 2000)])
        self.port = generator.randrange(1024, 65536)
        self.socket: Socket
        self.options_on = timestamps
        self.listens = False

    def packet(self, segment: Segment) -> bytes:
        options = segment.options
        if segment.ts_val is not None:
            options += bytes([1, 1, 8, 10]) + segment.ts_val.to_bytes(4, "big") + segment.ts_ecr.to_bytes(4, "big")
        options += b"\0" * (-len(options) % 4)
        header = self.port.to_bytes(2, "big") + (80).to_bytes(2, "big") + segment.seq.to_bytes(4, "big")
        header += segment.ack.to_bytes(4, "big") + bytes([(20 + len(options)) // 4 << 4, segment.flags])
        header += segment.window.to_bytes(2, "big") + b"\0\0\0\0" + options
        return self.with_checksum(header + segment.payload)

    def with_checksum(self, tcp: bytes) -> bytes:
        pseudo = packed(PEER) + packed(HOST) + bytes([0, 6]) + len(tcp).to_bytes(2, "big")
        tcp = tcp[:16] + b"\0\0" + tcp[18:]
        value = internet_checksum(pseudo + tcp)
        return with_header(TEMPLATE, tcp[:16] + value.to_bytes(2, "big") + tcp[18:])

    def send(self, segment: Segment) -> None:
        self.endpoint.receive(self.packet(segment), self.now)
        self.endpoint.take_packets(self.now)

    def valid(self, flags: int = ACK, payload: bytes = b"") -> Segment:
        """The segment that a correct peer would send next, acknowledging everything."""
        pcb = self.socket.pcb
        stamp = int(pcb["ts_recent"]) if pcb["use_timestamps"] else None
        if self.socket.state is State.SYN_SENT:
            return Segment(self.iss, int(pcb["snd_max"]), flags, payload=payload, ts_val=1000 if self.options_on else None)
        return Segment(int(pcb["rcv_nxt"]), int(pcb["snd_max"]), flags, payload=payload, ts_val=stamp)

    def bring_into(self, state: State) -> None:
        """Open a connection and go on until it is in `state`."""
        syn_options = bytes([2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 1, 1])
        stamp = 1000 if self.options_on else None
        passive = state is State.SYN_RECEIVED or (state is not State.SYN_SENT and self.random.random() < 0.5)
        self.listens = passive
        if passive:
            listener = self.endpoint.listen(Address(HOST, 80))
            self.send(Segment(self.iss, 0, SYN, ts_val=stamp, options=syn_options))
            self.socket = self.endpoint.connections[0]
            if state is State.SYN_RECEIVED:
                return
            self.send(self.valid())
            accepted = listener.accept()
            assert accepted is self.socket
        else:
            self.socket = self.endpoint.connect(Address(PEER, self.port), self.now, Address(HOST, 80))
            self.endpoint.take_packets(self.now)
            if state is State.SYN_SENT:
                return
            self.send(Segment(self.iss, int(self.socket.pcb["snd_max"]), SYN | ACK, ts_val=stamp, options=syn_options))
        if self.random.random() < 0.5:
            self.socket.send(bytes(self.random.randrange(1, 5000)), self.now)
        if state in (State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSING, State.TIME_WAIT):
            self.close()
        if state in (State.FIN_WAIT_2, State.TIME_WAIT):
            while self.socket.state is State.FIN_WAIT_1:
                self.send(self.valid())
                self.drain()
        if state in (State.CLOSE_WAIT, State.LAST_ACK, State.CLOSING, State.TIME_WAIT):
            segment = self.valid(ACK | FIN)
            if state is State.CLOSING:
                segment.ack = int(self.socket.pcb["snd_una"])
            self.send(segment)
        if state is State.LAST_ACK:
            self.close()
        assert self.socket.state is state, (self.socket.state, state)

    def close(self) -> None:
        (self.socket.close if self.random.random() < 0.5 else self.socket.shutdown)(self.now)
        self.endpoint.take_packets(self.now)

    def drain(self) -> None:
        """Let timers run if nothing else happens."""
        deadline = self.endpoint.next_deadline_us()
        if deadline is not None and self.socket.pcb["snd_una"] != self.socket.pcb["snd_max"] and self.random.random() < 0.1:
            self.now = max(self.now, deadline)
            self.endpoint.run_timers(self.now)

    def mutated(self) -> Segment:
        """A segment near a valid one."""
        choose, pcb = self.random, self.socket.pcb
        segment = self.valid(choose.choice([ACK, ACK, ACK, ACK | PSH, ACK | FIN, SYN, SYN | ACK, RST, RST | ACK, 0, FIN, 255]))
        if choose.random() < 0.3:
            segment.flags ^= 1 << choose.randrange(8)
        if choose.random() < 0.6:
            segment.payload = bytes(choose.choice([1, 2, 100, 1448, 3000]))
        window = int(pcb["rcv_wnd"])
        if choose.random() < 0.6:
            near = choose.choice(
                [-3000, -1449, -2, -1, 1, 2, 1448, 3000, window - 1, window, window + 1, choose.randrange(MODULUS)]
            )
            segment.seq = (segment.seq + near) % MODULUS
        if choose.random() < 0.6:
            flight = offset(int(pcb["snd_max"]), int(pcb["snd_una"]))
            near = choose.choice([-flight, -1, 1, -flight - 1, -70_000, 100_000, choose.randrange(MODULUS), -flight // 2])
            segment.ack = (segment.ack + near) % MODULUS
        if choose.random() < 0.3:
            segment.window = choose.choice([0, 1, 100, 65535])
        if segment.ts_val is not None:
            if choose.random() < 0.3:
                segment.ts_val = (segment.ts_val + choose.choice([-1, 1, 1000, -1000, 1 << 31])) % MODULUS
            if choose.random() < 0.1:
                segment.ts_val = None
        if choose.random() < 0.3:
            una = int(pcb["snd_una"])
            edges = sorted(choose.randrange(-2000, 6000) for _ in range(2 * choose.randrange(1, 4)))
            blocks = b"".join(((una + edge) % MODULUS).to_bytes(4, "big") for edge in edges)
            segment.options = bytes([1, 1, 5, 2 + len(blocks)]) + blocks
        return segment


def allowed_states(listens: bool, offers_timestamps: bool, before: dict[str, Any], segment: Segment) -> set[State]:
    """The states that RFC 9293, section 3.10.7 (with RFC 5961 and RFC 7323), allows after a segment."""
    state = State(before["state"])
    acknowledges = bool(segment.flags & ACK)
    if state is State.CLOSED:
        return {state}
    if state is State.SYN_SENT:
        good = acknowledges and 0 < offset(segment.ack, before["iss"]) <= offset(before["snd_max"], before["iss"])
        if acknowledges and not good:
            return {state}
        if segment.flags & RST:
            return {State.CLOSED} if good else {state}
        if not segment.flags & SYN:
            return {state}
        if not acknowledges:
            return {State.SYN_RECEIVED}
        return {State.CLOSE_WAIT, State.ESTABLISHED} if segment.flags & FIN else {State.ESTABLISHED}
    if state is State.TIME_WAIT and listens and segment.flags & (SYN | ACK | RST) == SYN:
        reuses = offset(segment.seq, before["rcv_nxt"]) > 0
        if segment.ts_val is not None and offers_timestamps:
            later = offset(segment.ts_val, before["ts_recent"])
            reuses = not before["use_timestamps"] or later > 0 or (later == 0 and reuses)
        if reuses:
            return {State.CLOSED}  # makes way for a new connection (RFC 9293, section 3.10.7.4; RFC 6191)
    seq, length, flags = segment.seq, segment.length, segment.flags
    if state is State.SYN_RECEIVED and flags & (SYN | RST) == SYN and seq == before["irs"]:
        if not acknowledges:
            return {state}
        seq, length, flags = (seq + 1) % MODULUS, length - 1, flags & ~SYN  # an ACK, whose SYN was agreed on before
    stale = not flags & SYN if segment.ts_val is None else offset(segment.ts_val, before["ts_recent"]) < 0
    if before["use_timestamps"] and not flags & RST and stale:
        return {state}
    first = offset(seq, before["rcv_nxt"])
    window = max(offset(before["rcv_adv"], before["rcv_nxt"]), 0)
    inside = 0 <= first < window or (first + length > 0 and first < window)
    if window == 0:
        inside = first == 0 and (length == 0 or bool(flags & (ACK | RST)))
    at_edge = first in (-1, 0, 1) and length <= 1 if window == 0 else first == window and length == 0
    repeats = first < 0 < length and offset(segment.ack, before["snd_una"]) > 0  # its ACK is read if it says something new
    if not inside and (at_edge or repeats) and flags & (SYN | ACK | RST) == ACK and state is not State.SYN_RECEIVED:
        flags &= ~FIN  # only the ACK is read
    elif not inside:
        return {state}
    if flags & RST:
        return {State.CLOSED} if first == 0 else {state}
    if flags & SYN and state is State.SYN_RECEIVED and before["passive"]:
        return {State.CLOSED}  # the listener goes on
    if flags & SYN or not acknowledges:
        return {state}
    if state is State.SYN_RECEIVED:
        if not 0 < offset(segment.ack, before["iss"]) <= offset(before["snd_max"], before["iss"]):
            return {state}
        state = State.FIN_WAIT_1 if before["fin_queued"] else State.ESTABLISHED
    if offset(segment.ack, before["snd_max"]) > 0:
        return {state}
    if offset(segment.ack, before["snd_una"]) < -before["max_snd_wnd"]:
        return {state}  # RFC 5961, section 5.2
    result = {state}
    unread = inside and before["detached"] and segment.payload and first + len(segment.payload) > 0
    if unread and state in (State.FIN_WAIT_1, State.FIN_WAIT_2):
        return {State.CLOSED, state}
    fin_acknowledged = before["fin_queued"] and offset(segment.ack, before["fin_seq"]) > 0
    if fin_acknowledged:
        step = {State.FIN_WAIT_1: State.FIN_WAIT_2, State.CLOSING: State.TIME_WAIT, State.LAST_ACK: State.CLOSED}
        result = {step.get(state, state)}
        if offset(segment.ack, before["snd_una"]) < 0 or (repeats and not inside):  # it may repeat more than the buffer holds
            result.add(state)
    receives_fin = flags & FIN or before["fin_received"]
    if receives_fin:
        end = {
            State.ESTABLISHED: State.CLOSE_WAIT,
            State.FIN_WAIT_1: State.CLOSING,
            State.FIN_WAIT_2: State.TIME_WAIT,
        }
        ends = {end[one] for one in result if one in end}
        in_order = flags & FIN and first <= 0 <= first + length - 1 and first + length <= window and not before["fin_received"]
        certain = in_order and not before["reordered_count"]
        result = (result - set(end)) | ends if certain else result | ends
    return result


def check_invariants(socket: Socket) -> None:
    """What must be true of a connection at any time."""
    pcb, cold = socket.pcb, socket.cold
    una, nxt, top = int(pcb["snd_una"]), int(pcb["snd_nxt"]), int(pcb["snd_max"])
    assert 0 <= offset(nxt, una) <= offset(top, una) < 1 << 30, (una, nxt, top)
    assert pcb["send_buffered_bytes"] == socket.unacknowledged_bytes >= 0
    if socket.state >= State.ESTABLISHED:
        fin = 1 if pcb["fin_queued"] else 0
        assert offset(top, una) <= int(pcb["send_buffered_bytes"]) + fin
        assert pcb["snd_cwnd"] >= 1
        assert 0 <= socket.unread_bytes <= len(socket.receive_ring)
        assert pcb["mss"] >= 1
    for name, count in (("reordered", int(pcb["reordered_count"])), ("sacked", int(pcb["sacked_count"]))):
        edges = [
            value for index in range(count) for value in (int(cold[f"{name}_start"][index]), int(cold[f"{name}_end"][index]))
        ]
        base = int(pcb["rcv_nxt"]) if name == "reordered" else una
        distances = [offset(edge, base) for edge in edges]
        assert distances == sorted(set(distances)), (name, distances)
        waits = socket.state in (State.SYN_RECEIVED, State.CLOSED)  # data of the SYN
        assert not distances or distances[0] > 0 or name == "sacked" or waits
    if socket.state >= State.ESTABLISHED and (socket.scoreboard["use_rack"] or not pcb["use_sack"]):
        check_scoreboard(socket)


def check_scoreboard(socket: Socket) -> None:
    """What must be true of the record of transmissions: the runs are what is outstanding, each once, and the sums are theirs."""
    pcb, board = socket.pcb, socket.scoreboard
    count = int(board["run_count"])
    una, top = int(pcb["snd_una"]), int(pcb["snd_max"])
    edges = [0, *(offset(int(end), una) for end in board["run_end"][:count])]
    assert edges == sorted(set(edges)), edges
    assert edges[-1] == offset(top, una), (edges, una, top)
    assert pcb["snd_nxt"] == top
    lengths = {IN_FLIGHT: 0, SACKED: 0, LOST: 0}
    for index in range(count):
        lengths[int(board["run_state"][index])] += edges[index + 1] - edges[index]
    assert board["lost_bytes"] == lengths[LOST]
    segments = {state: int(board["run_segments"][:count][board["run_state"][:count] == state].sum()) for state in lengths}
    twice = (board["run_state"][:count] == IN_FLIGHT) & (board["run_repeated"][:count] == DOUBLED)
    flight = segments[IN_FLIGHT] + int(board["run_segments"][:count][twice].sum())
    assert board["flight_segments"] == max(flight - int(board["duplicate_segments"]), 0)
    assert board["sacked_segments"] == segments[SACKED]
    assert board["outstanding_segments"] == sum(segments.values())
    assert (board["run_segments"][:count] >= 1).all()
    assert (board["congestion_state"] == CongestionState.RECOVERY) == (pcb["in_recovery"] == 1)
    assert not pcb["use_sack"] or board["duplicate_segments"] == 0
    assert board["undo_repeats"] >= -1
    assert not board["undo_open"] or offset(una, int(board["undo_marker"])) < 1 << 31
    assert pcb["sacked_count"] == 0, "two scoreboards"
    if una == top:
        assert board["reorder_deadline_us"] == board["probe_deadline_us"] == 0


FIELDS = (
    *("state", "iss", "irs", "snd_una", "snd_max", "rcv_nxt", "rcv_adv", "use_timestamps", "ts_recent", "detached"),
    *("fin_queued", "fin_seq", "fin_received", "reordered_count", "max_snd_wnd", "passive"),
)


def fuzz_connection(generator: random.Random, state: State, seen: Counter[str]) -> None:
    """One connection, from `state` on."""
    peer = Peer(generator, timestamps=generator.random() < 0.5)
    peer.bring_into(state)
    for _ in range(SEGMENTS_A_CONNECTION):
        socket = peer.socket
        before = {name: int(socket.pcb[name]) for name in FIELDS}
        segment = peer.mutated()
        packet = peer.packet(segment)
        garbled = generator.random() < 0.1
        if garbled:
            tcp = bytearray(packet[20:])
            for _ in range(generator.randrange(1, 6)):
                tcp[generator.randrange(4, len(tcp))] = generator.randrange(256)
            packet = peer.with_checksum(bytes(tcp))
        peer.endpoint.receive(packet, peer.now)
        seen[f"{State(before['state']).name} to {socket.state.name}"] += 1
        if not garbled:
            allowed = allowed_states(peer.listens, peer.options_on, before, segment)
            assert socket.state in allowed, (before, segment, socket.state, allowed)
        check_invariants(socket)
        answers = peer.endpoint.take_packets(peer.now)
        assert len(answers) <= 200, "an answer without end"
        if socket.state is State.CLOSED:
            return
        act(peer, generator)
        check_invariants(socket)


def fuzz_without_connection(generator: random.Random, state: State, seen: Counter[str]) -> None:
    """Segments to a port that is listened to, or to a closed one: the answers of RFC 9293, sections 3.10.7.1 and 3.10.7.2."""
    peer = Peer(generator, timestamps=False)
    if state is State.LISTEN:
        peer.endpoint.listen(Address(HOST, 80), backlog=2)
    for peer.port in range(1024, 1024 + SEGMENTS_A_CONNECTION):
        segment = Segment(generator.randrange(MODULUS), generator.randrange(MODULUS), generator.randrange(64))
        segment.payload = bytes(generator.choice([0, 0, 1, 1000]))
        peer.endpoint.receive(peer.packet(segment), peer.now)
        answers = [packet[20:] for packet in peer.endpoint.take_packets(peer.now)]
        flags = segment.flags
        if flags & RST or (state is State.LISTEN and not flags & (SYN | ACK)):
            expected = []
        elif flags & ACK:
            expected = [(segment.ack, 0, RST)]
        elif state is State.LISTEN:
            expected = [(None, (segment.seq + 1) % MODULUS, SYN | ACK)]
        else:
            expected = [(0, (segment.seq + segment.length) % MODULUS, RST | ACK)]
        found = [(int.from_bytes(tcp[4:8], "big"), int.from_bytes(tcp[8:12], "big"), tcp[13] & 63) for tcp in answers]
        assert [one[1:] for one in found] == [one[1:] for one in expected], (segment, found, expected)
        assert all(wanted[0] in (None, one[0]) for one, wanted in zip(found, expected, strict=True))
        seen[f"{state.name} stays"] += 1


def act(peer: Peer, generator: random.Random) -> None:
    """What applications and clocks do between segments."""
    peer.now += generator.choice([0, 10, 1000, 100_000])
    socket = peer.socket
    choice = generator.random()
    if choice < 0.2 and socket.writable:
        socket.send(bytes(generator.randrange(1, 3000)), peer.now)
    elif choice < 0.4 and socket.unread_bytes:
        socket.receive(generator.randrange(1, 5000), peer.now)
    elif choice < 0.45 and socket.state >= State.ESTABLISHED:
        socket.shutdown(peer.now)
    elif choice < 0.55:
        deadline = peer.endpoint.next_deadline_us()
        if deadline is not None:
            peer.now = max(peer.now, deadline)
    peer.endpoint.run_timers(peer.now)
    peer.endpoint.take_packets(peer.now)


def fuzz(segments: int, seed: int, progress: bool = False) -> Counter[str]:
    """Send at least so many segments; return how often which state followed which."""
    seen: Counter[str] = Counter()
    with Progress(disable=not progress) as bar:
        task = bar.add_task("segments", total=segments)
        number = 0
        while (sent := seen.total()) < segments:
            fuzz_one(number, seed, seen)
            number += 1
            bar.update(task, completed=sent)
    return seen


def fuzz_one(number: int, seed: int, seen: Counter[str]) -> None:
    """Fuzz connection `number` of a seed."""
    generator = random.Random(seed * 1_000_003 + number)
    state = STATES[number % len(STATES)]
    try:
        (fuzz_without_connection if state in WITHOUT_CONNECTION else fuzz_connection)(generator, state, seen)
    except Exception as error:
        error.add_note(f"connection {number} of seed {seed}")
        raise


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=1_000_000, help="how many to send at least (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default %(default)s)")
    options = parser.parse_args()
    started = time.perf_counter()
    seen = fuzz(options.segments, options.seed, progress=True)
    for transition, times in sorted(seen.items()):
        print(f"{times:>9,}  {transition}")
    print(f"{seen.total():,} segments in {time.perf_counter() - started:.0f} s, nothing broken")
    return 0


if __name__ == "__main__":
    sys.exit(main())
