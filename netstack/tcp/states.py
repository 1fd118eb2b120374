"""The states of a connection (RFC 9293, section 3.3.2), and the reasons why one ended. Knows no transition."""

from enum import IntEnum


class State(IntEnum):
    """A connection's state, in the order of its life. Comparisons rely on the order."""

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
