"""The attacks of the benchmark: their packets are what scapy would build, and a small run of each harms no honest client."""

import random
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP

from benchmarks.hostile import Row, run, run_mutants
from benchmarks.hostile_peers import (
    ACK,
    OPTIONS,
    SYN,
    Attack,
    Fragments,
    Idle,
    Slowloris,
    Sockstress,
    Syns,
    repaired,
    tcp_packet,
)

CLIENTS = 5


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "bulk").write_bytes(bytes(300_000))
    (tmp_path / "page").write_bytes(random.Random(1).randbytes(3000))
    return tmp_path


def test_a_segment_is_what_scapy_would_build() -> None:
    for raw in (
        tcp_packet(bytes([11, 0, 0, 1]), 5000, 1 << 32, 7, SYN, options=OPTIONS),
        tcp_packet(bytes(4), 1, 2, 3, ACK, payload=b"x"),
    ):
        packet = IP(raw)
        again = packet.copy()
        del again.chksum, again.len, again[TCP].chksum, again[TCP].dataofs
        assert bytes(again) == raw
    assert dict(IP(tcp_packet(bytes(4), 1, 2, 3, SYN, options=OPTIONS))[TCP].options)["MSS"] == 1460


def test_a_changed_packet_has_checksums_that_are_right() -> None:
    data = bytearray(tcp_packet(bytes([11, 0, 0, 1]), 5000, 1, 2, ACK, payload=b"payload") + b"more")
    data[45] ^= 255
    packet = IP(repaired(data))
    again = packet.copy()
    del again.chksum, again.len, again[TCP].chksum
    assert bytes(again) == bytes(packet)
    assert packet.len == len(data)


@pytest.mark.parametrize(
    ("attack", "least_opened"),
    [(Idle(300, 100), 300), (Syns(3000, 1), 0), (Fragments(2000, 1), 0), (Slowloris(20), 20), (Sockstress(20), 20)],
    ids=lambda value: type(value).__name__,
)
def test_honest_clients_lose_nothing(root: Path, attack: Attack, least_opened: int) -> None:
    row = Row()
    run(attack, root, CLIENTS, row)
    assert row.opened >= least_opened
    assert row.requests >= CLIENTS
    assert (row.failed, row.faults, row.left) == (0, [], 0)


def test_mutants_go_on_where_they_were(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.hostile.CHUNK", 1000)
    state = tmp_path / "state.json"
    run_mutants(2000, 1, root, CLIENTS, state, Row())
    row = Row()
    run_mutants(3000, 1, root, CLIENTS, state, row)
    assert row.segments == 3000
    assert (row.failed, row.faults, row.left) == (0, [], 0)
    assert row.opened > 50
    with pytest.raises(ValueError, match="of another seed"):
        run_mutants(3000, 2, root, CLIENTS, state, Row())


def test_an_exception_of_the_server_is_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the runs above would show nothing."""
    monkeypatch.setattr("netstack.host.fragments._whole", lambda version, fragments: 1 // 0)
    row = Row()
    run(Fragments(3000, 1), root, 1, row)
    assert any("ZeroDivisionError" in line for line in row.faults)
