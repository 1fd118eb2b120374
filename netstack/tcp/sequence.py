"""Arithmetic of sequence numbers modulo 2**32 (RFC 9293, section 3.4). Knows nothing else of TCP."""

from netstack.jit.compilation import compiled


@compiled
def seq_add(a, n):
    """Return the sequence number `n` bytes after `a`."""
    return (a + n) & 0xFFFFFFFF


@compiled
def seq_sub(a, b):
    """Return the signed distance from `b` to `a`, from -2**31 to 2**31 - 1."""
    return ((a - b + 0x80000000) & 0xFFFFFFFF) - 0x80000000


@compiled
def seq_lt(a, b):
    """Return whether `a` comes before `b`."""
    return seq_sub(a, b) < 0


@compiled
def seq_leq(a, b):
    """Return whether `a` comes before `b` or is `b`."""
    return seq_sub(a, b) <= 0


@compiled
def seq_gt(a, b):
    """Return whether `a` comes after `b`."""
    return seq_sub(a, b) > 0


@compiled
def seq_geq(a, b):
    """Return whether `a` comes after `b` or is `b`."""
    return seq_sub(a, b) >= 0
