"""Two hosts of the real stack talk without a network: packets travel in a Python list, and time is a number.

    .venv/bin/python examples/endpoint_in_memory.py

Every fifth packet is lost, so that the timers and the recovery of TCP have something to do.
"""

from netstack.host import Address, Endpoint, EndpointConfig

TEXT = b"There is nothing here but two endpoints and a list. " * 2000
DELAY_US = 10_000

server = Endpoint(EndpointConfig(addresses=("10.0.0.1",), seed=1))
client = Endpoint(EndpointConfig(addresses=("10.0.0.2",), seed=2))
listener = server.listen(Address("10.0.0.1", 80))
sender = client.connect(Address("10.0.0.1", 80), now_us=0)
receiver = None

wire: list[tuple[int, Endpoint, bytes]] = []  # when a packet arrives, where, and what it is
now_us = packets = lost = sent = 0
received = bytearray()
while receiver is None or not receiver.at_eof:
    for source, target in ((client, server), (server, client)):
        for packet in source.take_packets(now_us):
            packets += 1
            if packets % 5 == 0:
                lost += 1
            else:
                wire.append((now_us + DELAY_US, target, packet))
    deadlines = [end.next_deadline_us() for end in (client, server)]
    now_us = min([time_us for time_us, _, _ in wire] + [time_us for time_us in deadlines if time_us is not None])
    while wire and wire[0][0] <= now_us:  # delays are equal: the first sent is the first to arrive
        _, target, packet = wire.pop(0)
        target.receive(packet, now_us)
    client.run_timers(now_us)
    server.run_timers(now_us)

    receiver = receiver or listener.accept()
    if receiver is not None:
        received += receiver.receive(1 << 20, now_us)
    if sender.writable:
        sent += sender.send(TEXT[sent:], now_us)
        if sent == len(TEXT):
            sender.close(now_us)

assert received == TEXT
print(f"{len(received):,} bytes arrived in {now_us / 1e6:.2f} s of virtual time; {lost} of {packets} packets were lost")
