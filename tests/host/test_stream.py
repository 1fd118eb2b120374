"""For any loss, duplication and reordering, each stream arrives whole and in order, or its connection ends with an error."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.host import Address, Endpoint, EndpointConfig, Socket
from netstack.tcp.states import State
from tests.host.fuzz_segments import check_invariants

SERVER, CLIENT = Address("10.0.0.2", 80), Address("10.0.0.1", 4000)
DELAY_US = 1000
END_US = 10 * 3600 * 1_000_000


@dataclass
class Channel:
    """What happens to packets: each probability in percent."""

    seed: int
    loss: int = 0
    duplicate: int = 0
    reorder: int = 0
    mark: int = 0
    generator: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.generator = random.Random(self.seed)

    def delays(self) -> list[int]:
        """When the copies of a packet arrive."""
        if self.generator.randrange(100) < self.loss:
            return []
        copies = 2 if self.generator.randrange(100) < self.duplicate else 1
        extra = 20 * DELAY_US if self.generator.randrange(100) < self.reorder else 0
        return [DELAY_US + self.generator.randrange(extra + 1) for _ in range(copies)]


@dataclass
class End:
    """One end with its application, which writes `data` in pieces, reads in pieces, and closes when it has written all."""

    endpoint: Endpoint
    data: bytes
    piece: int
    socket: Socket | None = None
    written: int = 0
    got: bytearray = field(default_factory=bytearray)
    error: OSError | None = None

    def step(self, now_us: int) -> None:
        socket = self.socket
        if socket is None or self.error is not None:
            return
        try:
            while self.written < len(self.data) and socket.writable:
                self.written += socket.send(self.data[self.written : self.written + self.piece], now_us)
            if self.written == len(self.data) and socket.state >= State.ESTABLISHED:
                socket.shutdown(now_us)
            while socket.unread_bytes:
                self.got += socket.receive(self.piece, now_us)
            if socket.error is not None:
                socket.receive(1, now_us)
        except OSError as error:
            self.error = error
        check_invariants(socket)


def converse(channel: Channel, ends: tuple[End, End]) -> int:
    """Let both applications run until both streams have ended; return when that is."""
    client, server = ends
    now_us = 1_000_000
    listener = server.endpoint.listen(SERVER)
    client.socket = client.endpoint.connect(SERVER, now_us, CLIENT)
    flying: list[tuple[int, int, int, bytes]] = []
    number = 0
    while now_us < END_US:
        for side, end in enumerate(ends):
            for packet in end.endpoint.take_packets(now_us):
                for delay_us in channel.delays():
                    number += 1
                    flying.append((now_us + delay_us, number, 1 - side, packet))
        flying.sort()
        deadlines = [end.endpoint.next_deadline_us() for end in ends] + [flight[0] for flight in flying[:1]]
        times = [deadline for deadline in deadlines if deadline is not None]
        if not times:
            return now_us
        now_us = max(now_us, min(times))
        while flying and flying[0][0] <= now_us:
            _, _, side, packet = flying.pop(0)
            ends[side].endpoint.receive(packet, now_us)
            server.socket = server.socket or listener.accept()
            ends[side].step(now_us)
        for end in ends:
            end.endpoint.run_timers(now_us)
            end.step(now_us)
    raise AssertionError("the conversation does not end")


CONFIGS = st.fixed_dictionaries(
    {
        "sack": st.booleans(),
        "timestamps": st.booleans(),
        "window_scaling": st.booleans(),
        "ecn": st.integers(0, 2),
        "congestion_control": st.sampled_from(["reno", "cubic"]),
        "receive_buffer_bytes": st.sampled_from([300, 3000, 70_000, 300_000]),
        "send_buffer_bytes": st.sampled_from([300, 5000, 300_000]),
        "mtu_bytes": st.sampled_from([100, 576, 1500, 9000]),
        "delayed_ack": st.booleans(),
        "rack": st.booleans(),
        "loss_probes": st.sampled_from(["always", "tail", "never"]),
    }
)


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


@settings(deadline=None, max_examples=60)
@given(
    st.builds(
        Channel,
        seed=st.integers(0, 1 << 30),
        loss=st.sampled_from([0, 1, 5, 20]),
        duplicate=st.sampled_from([0, 2, 20]),
        reorder=st.sampled_from([0, 5, 40]),
    ),
    CONFIGS,
    CONFIGS,
    st.integers(0, 60_000),
    st.integers(0, 60_000),
    st.sampled_from([100, 1448, 20_000]),
)
def test_every_stream_arrives_or_ends_with_an_error(
    channel: Channel, ours: dict, theirs: dict, there: int, back: int, piece: int
) -> None:
    client = End(Endpoint(EndpointConfig(addresses=(CLIENT.host,), seed=channel.seed, **ours)), content(there, 1), piece)
    server = End(Endpoint(EndpointConfig(addresses=(SERVER.host,), seed=channel.seed + 1, **theirs)), content(back, 2), piece)
    converse(channel, (client, server))
    for sender, receiver in ((client, server), (server, client)):
        assert sender.data.startswith(receiver.got)
        if sender.error is None and receiver.error is None:
            assert receiver.got == sender.data
            assert receiver.socket is not None
            assert receiver.socket.at_eof
    if channel.loss <= 5:
        assert client.error is None
        assert server.error is None
    assert client.endpoint.connections == server.endpoint.connections == []


def bulk_transfer(channel: Channel, **config: int) -> Socket:
    """Send three megabytes over a channel, and return the sender's socket."""
    ends = tuple(
        End(Endpoint(EndpointConfig(addresses=(host,), seed=seed, **config)), data, 65536)  # pyright: ignore[reportArgumentType]
        for host, seed, data in ((CLIENT.host, 1, content(3_000_000, 3)), (SERVER.host, 2, b""))
    )
    sockets: list[Socket] = []
    original = Endpoint.connect

    def connect(self: Endpoint, *arguments: object) -> Socket:
        sockets.append(original(self, *arguments))  # pyright: ignore[reportArgumentType]
        return sockets[-1]

    ends[0].endpoint.connect = connect.__get__(ends[0].endpoint)
    converse(channel, (ends[0], ends[1]))
    assert ends[1].got == ends[0].data
    return sockets[0]


@pytest.mark.parametrize(("sack", "rack", "most_timeouts"), [(False, False, 4), (True, False, 1), (True, True, 0)])
def test_a_lossy_bulk_transfer_needs_few_timeouts(sack: bool, rack: bool, most_timeouts: int) -> None:
    """RFC 6582, RFC 6675 and RFC 8985 exist so that most losses are repaired without the retransmission timer."""
    pcb = bulk_transfer(Channel(seed=5, loss=1), sack=sack, rack=rack).pcb
    assert 10 <= pcb["retransmitted_segments"] <= 60  # of 2,100 segments 1 % and what was lost again
    assert pcb["retransmission_timeouts"] <= most_timeouts


def test_late_packets_are_hardly_ever_sent_again() -> None:
    """RFC 8985, section 6.2: what is late by less than a quarter of a round trip is not lost, however much overtakes it.

    The send buffer keeps what is in flight, and with it the holes that are open at a time, to what the receiver can remember.
    """
    retransmitted = {}
    for rack in (False, True):
        channel = Channel(seed=5)
        delays_us = [20 * DELAY_US] * 19 + [25 * DELAY_US]
        channel.delays = lambda channel=channel, delays_us=delays_us: [channel.generator.choice(delays_us)]
        retransmitted[rack] = int(bulk_transfer(channel, rack=rack, send_buffer_bytes=65536).pcb["retransmitted_segments"])
    assert retransmitted[False] > 20
    assert retransmitted[True] <= 5


def test_a_peer_that_is_gone_ends_the_connection_with_an_error() -> None:
    """RFC 9293, section 3.8.3: after R2 the connection is closed and the user is told."""
    client = End(Endpoint(EndpointConfig(addresses=(CLIENT.host,), seed=1, data_retries=5)), content(100_000, 1), 1000)
    server = End(Endpoint(EndpointConfig(addresses=(SERVER.host,), seed=2, data_retries=5)), content(100_000, 1), 1000)
    channel = Channel(seed=1)
    arrived = iter([True] * 20)
    channel.delays = lambda: [DELAY_US] if next(arrived, False) else []
    converse(channel, (client, server))
    assert isinstance(client.error, TimeoutError)
    assert isinstance(server.error, TimeoutError)
    assert client.data.startswith(server.got)
