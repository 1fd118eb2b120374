"""Windows that are announced oddly and marks in odd states: what a peer may send, and what may come of it."""

from scapy.layers.inet import IP, TCP

from netstack.host import Address
from netstack.tcp.states import State
from tests.host.test_endpoint import HOST, PORT, Wire

SECOND_US = 1_000_000


def test_linux_sends_what_fits_into_a_small_window() -> None:
    wire = Wire(platform="linux")
    socket, ours = wire.accepted()
    wire.send(wire.tcp("A", 1001, ours, window=60000))
    wire.send(wire.tcp("A", 1001, ours, b"x", window=60000))
    wire.send(wire.tcp("A", 1002, ours, window=100))
    socket.send(bytes(3000), wire.now)
    arrived, ended_us = ours, wire.now + 120 * SECOND_US
    packets = wire.answers()
    while arrived - ours < 3000 and wire.now < ended_us:
        for packet in packets:
            if packet[TCP].seq == arrived:
                arrived += min(len(packet[TCP].payload), 100)
        if packets:
            wire.send(wire.tcp("A", 1002, arrived, window=100), checked=False)
            wire.now += 1000
        packets = wire.answers()
        if not packets and arrived - ours < 3000:
            deadline = wire.endpoint.next_deadline_us()
            assert deadline is not None
            wire.now = max(wire.now, deadline)
            wire.endpoint.run_timers(wire.now)
            packets = wire.answers()
    assert arrived - ours == 3000


def test_no_ack_per_read_where_the_window_field_is_full() -> None:
    """Without window scaling no more than 65,535 bytes can be announced, however large the buffer is."""
    wire = Wire(receive_buffer_bytes=300_000, mtu_bytes=9000)
    listener = wire.endpoint.listen(Address(HOST, PORT))
    (synack,) = wire.send(wire.tcp("S", 1000, options=[("MSS", 8960)]))
    wire.send(wire.tcp("A", 1001, synack.seq + 1))
    socket = listener.accept()
    assert socket is not None
    wire.send(wire.tcp("A", 1001, synack.seq + 1, bytes(8000)), checked=False)
    wire.answers()
    count = 0
    for _ in range(500):
        socket.receive(1, wire.now)
        count += len(wire.answers())
    assert count <= 1


def test_freebsd_in_time_wait_answers_no_acks_with_marks() -> None:
    wire = Wire(platform="freebsd", ecn=2)
    listener = wire.endpoint.listen(Address(HOST, PORT))
    (synack,) = wire.send(wire.tcp("SEC", 1000, options=[("MSS", 1460)]))
    wire.send(wire.tcp("A", 1001, synack.seq + 1))
    socket = listener.accept()
    assert socket is not None
    ours = synack.seq + 1
    marked = wire.tcp("PA", 1001, ours, b"x")
    marked[IP].tos = 3
    wire.send(marked)
    socket.receive(10, wire.now)
    wire.answers()
    socket.close(wire.now)
    wire.answers()
    wire.send(wire.tcp("FA", 1002, ours + 1))
    assert socket.state is State.TIME_WAIT
    assert sum(len(wire.send(wire.tcp("AE", 1003, ours + 1))) for _ in range(20)) == 0
