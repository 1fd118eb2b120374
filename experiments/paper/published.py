"""Every number that Willmann, Rixner and Cox (USENIX ATC 2006) published and that is compared here; they stand nowhere else.

Knows no simulation.
"""

from experiments.paper.grid import CONNP_L, CONNP_T, MSGP, UP

WIRE_LIMIT_MBPS = 5650.0
"""Six Gigabit links, payload of full segments."""

CONTENTION_PERCENT = {
    MSGP: (89, 100, 100),
    ("connp_l", 4): (60, 56, 52),
    ("connp_l", 8): (51, 30, 26),
    ("connp_l", 16): (49, 18, 14),
    ("connp_l", 32): (41, 10, 7),
    ("connp_l", 64): (37, 6, 4),
    ("connp_l", 128): (33, 5, 2),
}
"""Table 1: acquisitions of global TCP/IP locks that do not succeed at once, at the tabulated loads, in a kernel with lock
profiling. All else was measured without."""
MISSES_PER_KB = {
    UP: (1.83, 4.08, 18.49),
    MSGP: (37.29, 28.39, 40.45),
    CONNP_T: (52.25, 50.38, 51.39),
    CONNP_L: (28.91, 26.18, 40.36),
}
"""Table 2: L2 data misses per KB of payload, at the tabulated loads."""
UP_BEST_MBPS = 4034.0
CONNP_L_MBPS = 5440.0
CONNP_L_GAIN_PERCENT = 126.0
"""Over the uniprocessor, at the heaviest load."""
MSGP_MEAN_GAIN_PERCENT = 31.0
"""Over the uniprocessor, on average over the loads."""
MSGP_GAIN_PERCENT = 62.0
"""Over the uniprocessor, at the heaviest load."""
