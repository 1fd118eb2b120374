"""Connection lookup against a dict, and the hash against the published function it is made of."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.tcp.lookup import BUCKET, lookup_find, lookup_insert, lookup_matches, lookup_remove, tuple_hash
from netstack.tcp.pcb import PCB

addresses, ports = st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFF)
few_addresses, few_ports = st.sampled_from([0x0A000001, 0x0A000002]), st.sampled_from([80, 5001, 65535])
tuples = st.tuples(addresses, ports, addresses, ports) | st.tuples(few_addresses, few_ports, few_addresses, few_ports)


class Table:
    """Pcbs and buckets; `find` is what a host does with a packet."""

    def __init__(self, seed: int, bucket_count: int, connections: list[tuple[int, int, int, int]]) -> None:
        self.seed, self.bucket_count = seed, bucket_count
        self.pcbs = np.zeros(max(len(connections), 1), PCB)
        self.buckets = np.full(bucket_count, -1, BUCKET)
        for index, connection in enumerate(connections):
            row = self.pcbs[index]
            row["local_address"], row["local_port"], row["foreign_address"], row["foreign_port"] = connection
            lookup_insert(self.pcbs.ctypes.data, self.buckets.ctypes.data, bucket_count, seed, index)

    def find(self, connection: tuple[int, int, int, int]) -> int:
        return lookup_find(self.pcbs.ctypes.data, self.buckets.ctypes.data, self.bucket_count, self.seed, *connection)

    def remove(self, index: int) -> int:
        return lookup_remove(self.pcbs.ctypes.data, self.buckets.ctypes.data, self.bucket_count, self.seed, index)

    def chain_lengths(self) -> list[int]:
        lengths = []
        for head in self.buckets["head"]:
            length, index = 0, int(head)
            while index >= 0:
                length, index = length + 1, int(self.pcbs[index]["hash_next"])
            lengths.append(length)
        return lengths


@settings(deadline=None)
@given(st.lists(tuples, unique=True, max_size=30), st.lists(tuples, max_size=10), st.integers(1, 9), st.integers(0, 1 << 31))
def test_finds_what_a_dict_finds(present: list, asked: list, bucket_count: int, seed: int) -> None:
    """Few buckets make long chains, few addresses make tuples that differ in one field only."""
    table = Table(seed, bucket_count, present)
    model = {connection: index for index, connection in enumerate(present)}
    for connection in present + asked:
        assert table.find(connection) == model.get(connection, -1)
    assert sum(table.chain_lengths()) == len(present)


def test_an_empty_table_has_no_connection() -> None:
    assert Table(1, 4, []).find((1, 2, 3, 4)) == -1


@pytest.mark.parametrize("field", range(4))
def test_a_match_needs_every_field(field: int) -> None:
    """RFC 9293, section 3.1: a connection is identified by both sockets. The ends are not interchangeable."""
    connection = [0x0A000001, 5001, 0x0A000002, 1024]
    table = Table(1, 1, [(0x0A000001, 5001, 0x0A000002, 1024)])
    assert lookup_matches(table.pcbs.ctypes.data, 0, *connection)
    connection[field] += 1
    assert not lookup_matches(table.pcbs.ctypes.data, 0, *connection)
    assert not lookup_matches(table.pcbs.ctypes.data, 0, 0x0A000002, 1024, 0x0A000001, 5001)


def finalizer(value: int) -> int:
    """The 32-bit finalizer of MurmurHash3 (Appleby, public domain), in integers without limit."""
    value ^= value >> 16
    value = value * 0x85EBCA6B % (1 << 32)
    value ^= value >> 13
    value = value * 0xC2B2AE35 % (1 << 32)
    return value ^ value >> 16


def test_the_finalizer_has_its_published_values() -> None:
    assert [finalizer(value) for value in (0, 1, 0xFFFFFFFF)] == [0, 0x514E28B7, 0x81F16F39]


@settings(deadline=None)
@given(st.integers(0, (1 << 32) - 1), tuples)
def test_hash_is_the_finalizer_over_the_fields(seed: int, connection: tuple[int, int, int, int]) -> None:
    local_address, local_port, foreign_address, foreign_port = connection
    value = finalizer(seed ^ local_address)
    value = finalizer((value + foreign_address) % (1 << 32))
    value = finalizer((value + (local_port << 16) + foreign_port) % (1 << 32))
    assert tuple_hash(seed, *connection) == value


@pytest.mark.parametrize("seed", [1, 12345, (1 << 31) - 1])
@pytest.mark.parametrize("bits", ["low", "high"])
def test_consecutive_ports_spread_over_buckets(seed: int, bits: str) -> None:
    """Clients of one machine differ in the port only. Low bits choose a bucket, high bits a group: both must be even.

    A random function leaves chi-square over 255 degrees of freedom below 365 with probability 0.99999.
    """
    shift = 0 if bits == "low" else 16
    hashes = [tuple_hash(seed, 0x0A000001, 5001, 0x0A000002, 1024 + number) for number in range(16_384)]
    counts = Counter((value >> shift) % 256 for value in hashes)
    expected = 16_384 / 256
    assert sum((counts[bucket] - expected) ** 2 / expected for bucket in range(256)) < 365


def test_another_seed_is_another_hash() -> None:
    """A sender who does not know the seed cannot make all of its connections fall into one chain."""
    connections = [(0x0A000001, 5001, 0x0A000002, port) for port in range(1024, 3000)]
    colliding = [connection for connection in connections if tuple_hash(1, *connection) % 64 == 0]
    assert max(Table(1, 64, colliding).chain_lengths()) == len(colliding) > 20
    assert max(Table(2, 64, colliding).chain_lengths()) < 8


@settings(deadline=None)
@given(st.lists(tuples, unique=True, min_size=1, max_size=30), st.integers(1, 9), st.data())
def test_what_is_removed_is_not_found_and_all_else_is(present: list, bucket_count: int, data: st.DataObject) -> None:
    table = Table(7, bucket_count, present)
    model = {connection: index for index, connection in enumerate(present)}
    for connection in data.draw(st.lists(st.sampled_from(present), unique=True)):
        before = table.remove(model.pop(connection))
        assert before == -1 or before in model.values()
        assert [table.find(asked) for asked in present] == [model.get(asked, -1) for asked in present]
    assert sum(table.chain_lengths()) == len(model)
