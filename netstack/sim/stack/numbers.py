"""The numbers that compiled code uses for items, threads, phases and choices of the stack. Each is named here only."""

from enum import auto

from netstack.sim.machine.numbers import Number


class Side(Number):
    """The ends of a connection."""

    LOCAL = auto()  # the simulated host
    REMOTE = auto()  # its peer


class Callout(Number):
    """Timers of a connection that are set with its segments; each is a line of the structure `timers`."""

    RETRANSMISSION = auto()
    KEEP_ALIVE = auto()


class ItemKind(Number):
    """What an item is: a received packet, a request of an application or an expired timer."""

    PACKET = auto()  # a received packet
    SEND = auto()  # a request of an application to send
    TIMER = auto()  # an expired timer
    CLOSE = auto()  # a request of an application to close
    READ = auto()  # a request of an application to read
    CONNECT = auto()  # a request of an application to open a connection


class ThreadKind(Number):
    """Whose program a thread runs."""

    APPLICATION = auto()
    INBOUND = auto()  # of a NIC
    PORT = auto()  # of a message port or a perimeter
    CLOCK = auto()  # of the TCP timers


class Phase(Number):
    """What the thread of an item does with it in its next step, see `organization.items`."""

    NEXT = auto()  # there is no item: take the next one
    LOOKUP_LOCK = auto()
    SERIALIZE = auto()
    PROCESS = auto()
    OUTPUT = auto()
    FINISH = auto()


class WaitsFor(Number):
    """What a thread that sleeps without a lock waits for."""

    WORK = auto()
    EVENTS = auto()  # application: a connection that is ready
    REPLY = auto()  # application: the answer to its request
    POLL = auto()  # application: frames or events, while its core polls
    TICK = auto()  # a perimeter's thread: the next tick of the timer wheel


class LockKind(Number):
    """Which lock an item takes before it is processed."""

    NONE = auto()
    CONNECTION = auto()
    GROUP = auto()


class ListenerKind(Number):
    """What a listening socket exists once for."""

    SHARED = auto()  # per host
    PARTITIONED = auto()  # per connection group
    REPLICATED = auto()  # per application thread
    LOCAL = auto()  # the same, and each is in a table of its thread's core, where nobody looks at others


class AcceptKind(Number):
    """Which application thread gets a new connection."""

    CLIENT = auto()  # by the client's number
    HASH = auto()  # by the hash of addresses and ports
    LOCAL = auto()  # one on the core that received the SYN
    ANY = auto()  # one that waits for events, in turn


class ReceiveAggregation(Number):
    """Who joins received frames that follow each other."""

    NONE = auto()
    GRO = auto()  # the kernel, behind the driver
    LRO = auto()  # the card


class SendAggregation(Number):
    """Who cuts what TCP sends at once into segments."""

    NONE = auto()  # TCP itself
    GSO = auto()  # the kernel, before the driver
    TSO = auto()  # the card


class Admission(Number):
    """What became of a received segment that was taken to its connection."""

    KNOWN = auto()  # it belongs to the connection
    OPENED = auto()  # it is a SYN that opened a connection
    REFUSED = auto()  # it belongs to no connection
