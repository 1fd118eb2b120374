"""How much payload all connections of a host may hold, and a single peer: rings are handed out and taken back here.

Knows a peer by its address, and no connection.
"""

import numpy as np

from netstack.host import buffers

SMALLEST_RING_BYTES = 4096
"""A ring of this size is always to be had: a connection goes on, slowly, when memory is short."""
NO_RING = np.zeros(0, np.uint8)


class Memory:
    """The account of rings.

    Attributes:
        limit_bytes: Of all rings above the smallest size; 0 is none. A single peer gets half of it.
        used_bytes: Of all rings.
        refused: How often a larger ring was not to be had.
    """

    def __init__(self, limit_bytes: int = 0) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.refused = 0
        self._of_peer: dict[str, int] = {}

    @property
    def is_short(self) -> bool:
        """Whether rings that hold nothing are to be given back at once: half of the limit is in use."""
        return self.limit_bytes > 0 and 2 * self.used_bytes > self.limit_bytes

    def grow(self, peer: str, ring: np.ndarray, first_seq: int, held_bytes: int, needed_bytes: int) -> np.ndarray:
        """Return a ring for `needed_bytes` with what `ring` holds; a smaller one, at worst the same, if there is no room."""
        size = buffers.ring_bytes(max(needed_bytes, SMALLEST_RING_BYTES))
        if size > SMALLEST_RING_BYTES and not self._has_room(peer, size - len(ring)):
            self.refused += 1
            if len(ring) >= SMALLEST_RING_BYTES:
                return ring
            size = SMALLEST_RING_BYTES
        larger = np.empty(size, np.uint8)
        if held_bytes:
            buffers.put(larger, first_seq, buffers.get(ring, first_seq, held_bytes))
        self._add(peer, size - len(ring))
        return larger

    def give_back(self, peer: str, ring: np.ndarray) -> np.ndarray:
        """Take a ring back, and return the empty one."""
        self._add(peer, -len(ring))
        return NO_RING

    def _has_room(self, peer: str, more_bytes: int) -> bool:
        if self.limit_bytes == 0:
            return True
        return (
            self.used_bytes + more_bytes <= self.limit_bytes and 2 * (self._of_peer.get(peer, 0) + more_bytes) <= self.limit_bytes
        )

    def _add(self, peer: str, more_bytes: int) -> None:
        self.used_bytes += more_bytes
        total = self._of_peer.get(peer, 0) + more_bytes
        if total:
            self._of_peer[peer] = total
        else:
            self._of_peer.pop(peer, None)
