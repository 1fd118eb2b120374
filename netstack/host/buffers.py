"""Rings of payload bytes by sequence number: what compiled code fills and empties packet by packet. Knows no connection."""

import numpy as np


def ring_bytes(size_bytes: int) -> int:
    """Return the size of a ring for `size_bytes`: a power of two, so that a position follows from a byte's sequence number."""
    return 1 << max(size_bytes - 1, 1).bit_length()


def put(target: np.ndarray, seq: int, data: bytes | bytearray | memoryview) -> None:
    """Store `data` from sequence number `seq` on; it must fit."""
    source = np.frombuffer(data, np.uint8)
    start = seq & len(target) - 1
    first = min(len(source), len(target) - start)
    target[start : start + first] = source[:first]
    target[: len(source) - first] = source[first:]


def get(source: np.ndarray, seq: int, count: int) -> bytes:
    """Return `count` bytes from sequence number `seq` on."""
    start = seq & len(source) - 1
    first = min(count, len(source) - start)
    if first == count:
        return source[start : start + first].tobytes()
    return source[start:].tobytes() + source[: count - first].tobytes()
