"""The organizations and the loads that Willmann, Rixner and Cox (USENIX ATC 2006) measured.

Knows neither what they measured nor any simulation.
"""

LOADS = (6, 12, 24, 48, 96, 192, 384, 768, 1536, 3072, 6144, 12288, 16384)
TABULATED = (6, 192, 16384)
"""The loads of the publication's tables."""
MODERATE = tuple(load for load in LOADS if 24 <= load <= 1536)
"""From four connections per network card, so that every core and card finds work, to as many as four L2 caches of 1 MB hold: a
connection's records have 35 lines, 1,536 connections 3.4 MB."""
HEAVIEST = 16384

Organization = tuple[str, int]
"""An organization's name, and the number of its connection groups."""

UP, MSGP, CONNP_T, CONNP_L = ("up", 1), ("msgp", 1), ("connp_t", 4), ("connp_l", 128)
PARALLEL = (MSGP, CONNP_T, CONNP_L)
ORGANIZATIONS = (UP, *PARALLEL)
GROUPS = (4, 8, 16, 32, 64, 128)
LOCKED = (MSGP, *(("connp_l", groups) for groups in GROUPS))
"""The rows of table 1: what has global TCP/IP locks."""
