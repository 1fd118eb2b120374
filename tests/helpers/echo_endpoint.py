"""The smallest host: answers ICMP echo requests of both IP versions, and nothing else."""

import struct


class EchoEndpoint:
    """Turns an echo request round (RFC 792, RFC 4443 section 4.1)."""

    def __init__(self) -> None:
        self._replies: list[bytes] = []

    def receive(self, packet: bytes, now_us: int) -> None:
        version = packet[0] >> 4
        if version == 4 and packet[9] == 1 and packet[20] == 8:
            addresses = packet[16:20] + packet[12:16]
            reply = packet[:12] + addresses + b"\x00" + packet[21:22] + _sum_after(packet[22:24], 0x0800, 0) + packet[24:]
            self._replies.append(reply)
        elif version == 6 and packet[6] == 58 and packet[40] == 128:
            addresses = packet[24:40] + packet[8:24]
            reply = packet[:8] + addresses + b"\x81" + packet[41:42] + _sum_after(packet[42:44], 0x8000, 0x8100) + packet[44:]
            self._replies.append(reply)

    def run_timers(self, now_us: int) -> None: ...

    def next_deadline_us(self) -> int | None:
        return None

    def take_packets(self, now_us: int) -> list[bytes]:
        replies, self._replies = self._replies, []
        return replies


def _sum_after(checksum: bytes, before: int, after: int) -> bytes:
    """Return the checksum after a word of what it covers has changed (RFC 1624, equation 3)."""
    total = (~struct.unpack("!H", checksum)[0] & 0xFFFF) + (~before & 0xFFFF) + after
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)
