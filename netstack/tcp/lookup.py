"""Connection lookup by 4-tuple: a seeded hash and chains of pcbs. Knows no lock and no group."""

import numpy as np

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, i8, record_accessor
from netstack.tcp.pcb import PCB


class Bucket(Record):
    """A hash bucket: a chain of pcbs."""

    head: i8  # the first pcb of its chain, -1 for none


BUCKET = Bucket.dtype

_pcb_at = record_accessor(PCB)
_bucket_at = record_accessor(BUCKET)


@compiled
def _mix(value):
    """Scramble 32 bits so that each input bit changes about half the output bits (the finalizer of MurmurHash3)."""
    value ^= value >> 16
    value = _multiply(value, 0x85EBCA6B)
    value ^= value >> 13
    value = _multiply(value, 0xC2B2AE35)
    return value ^ (value >> 16)


@compiled
def _multiply(a, b):
    """Return the low 32 bits of a product of 32-bit numbers; no intermediate value exceeds 63 bits."""
    return (a * (b & 0xFFFF) + (((a * (b >> 16)) & 0xFFFF) << 16)) & 0xFFFFFFFF


@compiled
def tuple_hash(seed, local_address, local_port, foreign_address, foreign_port):
    """Return a 32-bit hash of the 4-tuple."""
    value = _mix((seed ^ local_address) & 0xFFFFFFFF)
    value = _mix((value + foreign_address) & 0xFFFFFFFF)
    return _mix((value + ((local_port & 0xFFFF) << 16) + (foreign_port & 0xFFFF)) & 0xFFFFFFFF)


@compiled
def lookup_insert(pcbs_address, buckets_address, bucket_count, seed, index):
    """Put pcb `index` of the table at `pcbs_address` at the head of its chain."""
    pcb = _pcb_at(pcbs_address, index)
    value = tuple_hash(seed, pcb.local_address, pcb.local_port, pcb.foreign_address, pcb.foreign_port)
    bucket = _bucket_at(buckets_address, value % bucket_count)
    pcb.hash_next = bucket.head
    bucket.head = index


@compiled
def lookup_remove(pcbs_address, buckets_address, bucket_count, seed, index):
    """Take pcb `index` out of its chain; return the pcb before it, -1 if it was the first."""
    pcb = _pcb_at(pcbs_address, index)
    value = tuple_hash(seed, pcb.local_address, pcb.local_port, pcb.foreign_address, pcb.foreign_port)
    bucket = _bucket_at(buckets_address, value % bucket_count)
    before = np.int64(-1)
    current = np.int64(bucket.head)
    while current != index:
        before = current
        current = np.int64(_pcb_at(pcbs_address, current).hash_next)
    if before < 0:
        bucket.head = pcb.hash_next
    else:
        _pcb_at(pcbs_address, before).hash_next = pcb.hash_next
    pcb.hash_next = -1
    return before


@compiled
def lookup_matches(pcbs_address, index, local_address, local_port, foreign_address, foreign_port):
    """Return whether pcb `index` is the connection of a 4-tuple."""
    pcb = _pcb_at(pcbs_address, index)
    return (
        pcb.foreign_port == foreign_port
        and pcb.local_port == local_port
        and pcb.foreign_address == foreign_address
        and pcb.local_address == local_address
    )


@compiled
def lookup_find(pcbs_address, buckets_address, bucket_count, seed, local_address, local_port, foreign_address, foreign_port):
    """Return the index of the connection with this 4-tuple, -1 if there is none."""
    value = tuple_hash(seed, local_address, local_port, foreign_address, foreign_port)
    index = np.int64(_bucket_at(buckets_address, value % bucket_count).head)
    while index >= 0:
        if lookup_matches(pcbs_address, index, local_address, local_port, foreign_address, foreign_port):
            return index
        index = np.int64(_pcb_at(pcbs_address, index).hash_next)
    return index
