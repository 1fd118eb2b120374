"""What an attacker must not guess: initial sequence numbers (RFC 6528), time stamp offsets, ports, SYN cookies (RFC 4987).

Knows connections by the bytes of their addresses and ports only.
"""

import hashlib
import os
import random

COOKIE_PERIOD_US = 64_000_000
COOKIE_PERIODS = 2  # a cookie lives for one to two periods
COOKIE_MSS = (536, 1024, 1300, 1440, 1460, 4312, 8960, 16384)
_NO_SCALE = 15


class Secrets:
    """A host's keyed hash and source of random numbers."""

    def __init__(self, seed: int | None) -> None:
        """Draw the key from `seed`, or from the system."""
        self._key = os.urandom(16) if seed is None else hashlib.blake2b(str(seed).encode(), digest_size=16).digest()
        self.random = random.SystemRandom() if seed is None else random.Random(self._key)

    def _hash(self, *parts: bytes) -> int:
        return int.from_bytes(hashlib.blake2b(b"|".join(parts), key=self._key, digest_size=8).digest(), "big")

    def initial_sequence(self, connection: bytes, now_us: int) -> int:
        """Return the ISN: a clock of 4 us plus a hash of the connection (RFC 6528, section 3)."""
        return (now_us // 4 + self._hash(b"isn", connection)) & 0xFFFFFFFF

    def timestamp_offset(self, connection: bytes) -> int:
        """Return where the connection's time stamps begin (RFC 7323, section 7.1)."""
        return self._hash(b"timestamp", connection) & 0xFFFFFFFF

    def cookie(self, connection: bytes, peer_sequence: int, mss: int, now_us: int) -> int:
        """Return the sequence number that stands for a half-open connection, with the largest known MSS up to `mss`."""
        index = max((position for position, known in enumerate(COOKIE_MSS) if known <= mss), default=0)
        period = now_us // COOKIE_PERIOD_US
        own = self._cookie_hash(connection, index, period)
        return (period & 31) << 27 | index << 24 | self._cookie_hash(connection, index, period, peer_sequence) << 12 | own

    def cookie_mss(self, connection: bytes, peer_sequence: int, cookie: int, now_us: int) -> int | None:
        """Return the MSS that a cookie carries, None if it is not one of ours, or too old."""
        index, period = cookie >> 24 & 7, self._cookie_period(connection, cookie, now_us)
        if period is None or self._cookie_hash(connection, index, period, peer_sequence) != cookie >> 12 & 0xFFF:
            return None
        return COOKIE_MSS[index]

    def is_cookie(self, connection: bytes, cookie: int, now_us: int) -> bool:
        """Return whether the connection got this cookie and it is not too old, wherever the peer's numbers began.

        Of other numbers one in 65536 seems to be a cookie.
        """
        return self._cookie_period(connection, cookie, now_us) is not None

    def _cookie_period(self, connection: bytes, cookie: int, now_us: int) -> int | None:
        """Return when a cookie was made, by the half of its hash that does not depend on the peer's number."""
        index = cookie >> 24 & 7
        for period in range(now_us // COOKIE_PERIOD_US, now_us // COOKIE_PERIOD_US - COOKIE_PERIODS, -1):
            if period & 31 == cookie >> 27 and self._cookie_hash(connection, index, period) == cookie & 0xFFF:
                return period
        return None

    def _cookie_hash(self, connection: bytes, *parts: int) -> int:
        return self._hash(b"cookie", connection, " ".join(map(str, parts)).encode()) & 0xFFF


def cookie_timestamp(value: int, scale: int, sack: bool) -> int:
    """Return a time stamp at or just before `value` whose low bits carry the options of a SYN (scale -1: none)."""
    bits = (_NO_SCALE if scale < 0 else scale) | (16 if sack else 0)
    return (value - ((value - bits) & 31)) & 0xFFFFFFFF


def cookie_options(value: int) -> tuple[int, bool]:
    """Return window scale (-1: none) and SACK-permitted of a time stamp that `cookie_timestamp` made."""
    scale = value & 15
    return (-1 if scale == _NO_SCALE else scale), bool(value & 16)
