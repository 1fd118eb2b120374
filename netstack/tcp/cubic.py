"""CUBIC congestion control (RFC 9438) in whole numbers: every host computes the same window.

Changes windows only. Times are in us, windows in bytes.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.pcb import cold_of

BETA_PERCENT = 70  # section 4.6
FRIENDLY_NUMERATOR, FRIENDLY_DENOMINATOR = 9, 17  # alpha of the Reno-friendly region: 3 (1 - beta) / (1 + beta) = 9 / 17


@compiled
def cube_root(value):
    """Return the whole part of the cube root of a number below 2**62."""
    low = 0
    high = 1 << 21
    while low < high:
        middle = (low + high + 1) >> 1
        if middle * middle * middle <= value:
            low = middle
        else:
            high = middle - 1
    return low


@compiled
def cubic_reduce(pcb, now_us):
    """Note the window at a congestion event; return the new slow start threshold (sections 4.6, 4.7)."""
    cold = cold_of(pcb)
    window = pcb.snd_cwnd
    if window < cold.cubic_max_bytes:
        cold.cubic_max_bytes = window * (100 + BETA_PERCENT) // 200  # fast convergence
    else:
        cold.cubic_max_bytes = window
    cold.cubic_epoch_us = 0
    return max(window * BETA_PERCENT // 100, 2 * pcb.mss)


@compiled
def _begin_epoch(pcb, now_us):
    """Start a congestion avoidance stage at the current window (section 4.2)."""
    cold = cold_of(pcb)
    cold.cubic_epoch_us = max(now_us, 1)
    cold.cubic_seen_us = now_us
    cold.cubic_credit_bytes = 0
    cold.cubic_friendly_bytes = pcb.snd_cwnd
    cold.cubic_friendly_credit = 0
    if pcb.snd_cwnd < cold.cubic_max_bytes:
        # K = cbrt((W_max - cwnd) / C) seconds with C = 0.4 and windows in segments (equation 2)
        distance = (cold.cubic_max_bytes - pcb.snd_cwnd) * 1000 // pcb.mss  # in 1/1000 segments
        cold.cubic_k_us = cube_root(distance * 2_500_000) * 1000  # of 10**-3 / 0.4 s^3 = 2.5 * 10**6 ms^3
        cold.cubic_origin_bytes = cold.cubic_max_bytes
    else:
        cold.cubic_k_us = 0
        cold.cubic_origin_bytes = pcb.snd_cwnd


@compiled
def _target(pcb, elapsed_us):
    """Return W_cubic(t) of equation 1, in bytes."""
    cold = cold_of(pcb)
    distance_ms = (elapsed_us - cold.cubic_k_us) // 1000
    distance_ms = max(min(distance_ms, 300_000), -300_000)
    # C t^3 segments: 0.4 * 10**-9 * t_ms^3
    cube = distance_ms * distance_ms * distance_ms
    return cold.cubic_origin_bytes + (cube // 2500) * pcb.mss // 1_000_000


@compiled
def cubic_increase(pcb, acked, now_us):
    """Return by how much an ACK of `acked` bytes opens the window in congestion avoidance (sections 4.2 to 4.5)."""
    cold = cold_of(pcb)
    if cold.cubic_epoch_us == 0:
        _begin_epoch(pcb, now_us)
    cold.cubic_seen_us = now_us
    cold.cubic_friendly_credit += acked
    # the window that Reno would have grows by alpha segments per window
    friendly_bytes = max(cold.cubic_friendly_bytes, 1)
    grown = cold.cubic_friendly_credit * FRIENDLY_NUMERATOR * pcb.mss // (FRIENDLY_DENOMINATOR * friendly_bytes)
    if grown > 0:
        cold.cubic_friendly_bytes += grown
        cold.cubic_friendly_credit = 0
    elapsed = now_us - cold.cubic_epoch_us
    if _target(pcb, elapsed) < cold.cubic_friendly_bytes:
        return max(cold.cubic_friendly_bytes - pcb.snd_cwnd, 0)
    target = min(max(_target(pcb, elapsed + pcb.srtt_us), pcb.snd_cwnd), pcb.snd_cwnd * 3 // 2)
    cold.cubic_credit_bytes += (target - pcb.snd_cwnd) * acked
    increase = cold.cubic_credit_bytes // pcb.snd_cwnd
    cold.cubic_credit_bytes -= increase * pcb.snd_cwnd
    return increase


@compiled
def cubic_pause(pcb, now_us):
    """Take the time since the window last grew out of the epoch: the application was the limit (sections 4.2 and 5.8)."""
    cold = cold_of(pcb)
    if cold.cubic_epoch_us != 0:
        cold.cubic_epoch_us += now_us - cold.cubic_seen_us
        cold.cubic_seen_us = now_us


@compiled
def cubic_restart(pcb):
    """Begin a new epoch when congestion avoidance comes to its present window again, which something else has lowered."""
    cold_of(pcb).cubic_epoch_us = 0
