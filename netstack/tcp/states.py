"""The states of a connection (RFC 9293, section 3.3.2), and what ended one. Knows no transition."""

from enum import IntEnum


class State(IntEnum):
    """A connection's state, in the order of its life; comparisons rely on the order."""

    CLOSED = 0
    LISTEN = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    ESTABLISHED = 4
    CLOSE_WAIT = 5
    FIN_WAIT_1 = 6
    CLOSING = 7
    LAST_ACK = 8
    FIN_WAIT_2 = 9
    TIME_WAIT = 10


class End(IntEnum):
    """Why a connection is closed."""

    NONE = 0
    RESET = 1
    REFUSED = 2
    TIMED_OUT = 3
    ABORTED = 4


CLOSED = int(State.CLOSED)
LISTEN = int(State.LISTEN)
SYN_SENT = int(State.SYN_SENT)
SYN_RECEIVED = int(State.SYN_RECEIVED)
ESTABLISHED = int(State.ESTABLISHED)
CLOSE_WAIT = int(State.CLOSE_WAIT)
FIN_WAIT_1 = int(State.FIN_WAIT_1)
CLOSING = int(State.CLOSING)
LAST_ACK = int(State.LAST_ACK)
FIN_WAIT_2 = int(State.FIN_WAIT_2)
TIME_WAIT = int(State.TIME_WAIT)

ENDED_NONE = int(End.NONE)
ENDED_RESET = int(End.RESET)
ENDED_REFUSED = int(End.REFUSED)
ENDED_TIMED_OUT = int(End.TIMED_OUT)
ENDED_ABORTED = int(End.ABORTED)
