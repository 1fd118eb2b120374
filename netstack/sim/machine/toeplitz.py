"""The hash of receive side scaling: Toeplitz, over addresses and ports.

Source: Microsoft, Introduction to Receive Side Scaling, with its key and its test vectors. Knows no queue.
"""

import numpy as np

from netstack.jit.compilation import compiled
from netstack.sim.machine.state import toeplitz_word_of

PUBLISHED_KEY = "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"
TUPLE_BYTES = 12  # IPv4: two addresses and two ports


def byte_words(key: str) -> np.ndarray:
    """Return what each value of each byte of a tuple adds to the hash; shape (TUPLE_BYTES, 256), int64.

    The hash is the exclusive or, over all bits of the tuple that are set, of the 32 bits of the key that begin there. `key` are
    hexadecimal digits, 16 bytes at least.
    """
    bits = int(key, 16)
    length = 4 * len(key)
    windows = [(bits >> (length - 32 - position)) & 0xFFFFFFFF for position in range(8 * TUPLE_BYTES)]
    words = np.zeros((TUPLE_BYTES, 256), np.int64)
    for byte in range(TUPLE_BYTES):
        for bit in range(8):
            words[byte, (np.arange(256) >> (7 - bit)) & 1 == 1] ^= windows[8 * byte + bit]
    return words


@compiled
def toeplitz(machine, source_address, destination_address, source_port, destination_port):
    """Return the 32-bit hash of a received packet's tuple."""
    value = 0
    for byte in range(4):
        shift = 24 - 8 * byte
        value ^= toeplitz_word_of(machine, 256 * byte + ((source_address >> shift) & 255)).value
        value ^= toeplitz_word_of(machine, 256 * (4 + byte) + ((destination_address >> shift) & 255)).value
    for byte in range(2):
        shift = 8 - 8 * byte
        value ^= toeplitz_word_of(machine, 256 * (8 + byte) + ((source_port >> shift) & 255)).value
        value ^= toeplitz_word_of(machine, 256 * (10 + byte) + ((destination_port >> shift) & 255)).value
    return value
