"""Capture files, read by scapy."""

from pathlib import Path

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.utils import rdpcap

from netstack.wire.pcap import PcapWriter


def test_scapy_reads_both_ip_versions_with_their_times(tmp_path: Path) -> None:
    four = bytes(IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=80, dport=1234, flags="SA"))
    six = bytes(IPv6(src="fd00::1", dst="fd00::2") / TCP(sport=80, dport=4321, flags="R"))
    with PcapWriter(tmp_path / "trace.pcap") as writer:
        writer.write(four, 1_700_000_000_000_001)
        writer.write(six, 1_700_000_000_999_999)
    first, second = rdpcap(str(tmp_path / "trace.pcap"))
    assert (bytes(first), bytes(second)) == (four, six)
    assert (first[IP].dst, first[TCP].flags, second[IPv6].dst, second[TCP].dport) == ("10.0.0.2", "SA", "fd00::2", 4321)
    assert [round(packet.time * 1_000_000) for packet in (first, second)] == [1_700_000_000_000_001, 1_700_000_000_999_999]


def test_an_empty_capture_is_a_file_all_the_same(tmp_path: Path) -> None:
    PcapWriter(tmp_path / "empty.pcap").close()
    assert (tmp_path / "empty.pcap").read_bytes()[:4] == bytes.fromhex("d4c3b2a1")
    assert len(rdpcap(str(tmp_path / "empty.pcap"))) == 0
