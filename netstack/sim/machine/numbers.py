"""The numbers that compiled code uses for operations, categories of cycles, lock classes and states. Each is named here only.

The strings of configuration files and results are these names in lower case.
"""

from enum import IntEnum, auto
from functools import cache
from typing import Any, Self


class Number(IntEnum):
    """Numbers from 0 on, with the names that users see."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[Any]) -> int:
        return count

    @property
    def key(self) -> str:
        """The name of the number in configuration files and results."""
        return self.name.lower()

    @classmethod
    @cache
    def all_keys(cls) -> tuple[str, ...]:
        """Return the names of all numbers, in their order."""
        return tuple(number.key for number in cls)

    @classmethod
    def of(cls, key: str) -> Self:
        """Return the number that is called `key`. Raises KeyError if there is none."""
        return cls[key.upper()]


class Category(Number):
    """What a core spends its cycles on."""

    PROTOCOL = auto()
    APPLICATION = auto()
    COPY = auto()
    DRIVER = auto()
    INTERRUPT = auto()
    SCHEDULING = auto()
    LOCK_ATOMIC = auto()  # locked instructions of a multiprocessor kernel
    LOCK_SPIN = auto()  # waiting for a lock without sleeping
    LOCK_SLEEP = auto()  # the work of going to sleep on a lock, and of being woken from it
    LOCK_PROFILE = auto()  # what a profiling kernel does for its profile of locks
    CACHE_STALL = auto()
    POLL = auto()  # polling a receive queue that is empty
    IDLE = auto()


class Instance(Number):
    """What a structure exists once for: one instance per kernel, core, thread and so on.

    An operation is charged against the current instance of each.
    """

    KERNEL = auto()
    CORE = auto()
    CORE_PAIR = auto()  # two neighbouring cores, whose records share lines
    THREAD = auto()
    FLOW = auto()
    BUCKET = auto()
    LOCK = auto()
    GROUP = auto()
    NIC = auto()
    TX_SLOT = auto()
    RX_SLOT = auto()
    MBUF = auto()
    LISTENER = auto()


class Operation(Number):
    """What the kernel or an application does. Its cycles and its footprint are in ``conf/costs/``."""

    APP_EVENT = auto()  # one ready connection of those that kevent() returns, and the application's event loop
    APP_WAIT = auto()  # system call kevent(): ask for events
    WRITE_CALL = auto()  # system call write(): entry, file and socket checks, exit
    SOSEND_UNIT = auto()  # one unit of zero-copy socket send: map the page, build its mbuf, append
    PAGE_WIRE = auto()  # wire a page of the application, under the page queues' lock
    LOOKUP = auto()  # hash the 4-tuple and walk a bucket's chain to the pcb
    PRU_SEND = auto()  # protocol send request: checks before tcp_output
    TCP_OUTPUT = auto()  # build one segment: window checks, header template, timers
    CALLOUT_SET = auto()  # start or stop a timer, under the callout wheel's lock
    ROUTE_LOOKUP = auto()  # find the route and the link-layer address, under the routing table's lock
    IP_OUTPUT = auto()  # IP header, interface queue
    DRIVER_TRANSMIT = auto()  # one frame into the transmit ring
    DRIVER_TRANSMIT_DONE = auto()  # reclaim one descriptor, free its mbufs
    INTERRUPT = auto()  # interrupt entry, acknowledge the NIC, schedule the inbound thread
    DRIVER_RECEIVE = auto()  # one frame from the receive ring, refill the descriptor
    IP_INPUT = auto()  # ether_input and ip_input of one packet
    TCP_PREDICT = auto()  # segment checks, options, header prediction: after it, the segment cannot change the table
    TCP_INPUT = auto()  # established-state segment processing
    SB_DROP = auto()  # one acknowledged mbuf off the send buffer, free it
    PAGE_UNWIRE = auto()  # free a page of the application, under the page queues' lock
    SO_NOTIFY = auto()  # test at each ACK whether the event queue must know, under its lock
    SO_WAKEUP = auto()  # notify the event queue that a socket became writable
    MBUF_ALLOC = auto()  # one mbuf from the core's free list
    MBUF_FREE = auto()  # one mbuf to the core's free list
    MBUF_ZONE = auto()  # exchange a batch of mbufs with the shared zone
    TIMER = auto()  # one expired TCP timer
    LOCK_ACQUIRE = auto()  # uncontended acquisition of a mutex
    LOCK_RELEASE = auto()  # release of a mutex
    LOCK_CONTEND = auto()  # try again for a mutex that is held, and mark it as contested
    LOCK_POLL = auto()  # read the word of a mutex again while spinning for it
    LOCK_RELEASE_CONTESTED = auto()  # release a mutex that is marked: look for sleepers
    LOCK_BLOCK = auto()  # turnstile: lend priority, go to sleep
    LOCK_UNBLOCK = auto()  # turnstile: wake the sleepers
    SLEEP = auto()  # put the running thread on a sleep queue
    SWITCH_OUT = auto()  # save the thread that gives up its core
    CONTEXT_SWITCH = auto()  # choose the next thread and switch to it
    SWITCH_IN = auto()  # go on after a switch: stack, translations of addresses
    WAKEUP = auto()  # take a thread off its sleep queue
    RUN_QUEUE_ADD = auto()  # put a runnable thread on the run queue
    READ_TIMECOUNTER = auto()  # lock profiling: read the time
    LOCK_PROFILE = auto()  # lock profiling: update the profile of a mutex, under the profile's spin lock
    IPI_SEND = auto()  # interrupt another core
    IPI_RECEIVE = auto()  # be interrupted by another core
    MESSAGE_SEND = auto()  # put an item on an owner's message port
    MESSAGE_RECEIVE = auto()  # take a batch of items off the port
    LOOKUP_REFERENCE = auto()  # take and drop a reference of a connection that was found without a lock
    BUCKET_LOCK = auto()  # lock one bucket of the connection table, and take and drop a reference of the connection
    BACKLOG_ADD = auto()  # put a packet on the backlog of a connection that an application has locked
    BACKLOG_TAKE = auto()  # take a packet off the backlog
    MESSAGE_APPEND = auto()  # put an item on a port of this core, which no other core touches
    MESSAGE_COLLECT = auto()  # take a batch of items off such a port
    MESSAGE_POST = auto()  # put an item into the queue of another core's interprocessor interrupts
    MESSAGE_DELIVER = auto()  # take an item out of this core's own queue, and append it to its port
    PERIMETER_ADD = auto()  # leave an item in the queue of a perimeter
    PERIMETER_TAKE = auto()  # take an item out of the queue
    CONNECTION_CREATE = auto()  # answer a SYN: pcb, timers and socket of a new connection
    CONNECTION_INSERT = auto()  # put a pcb into its bucket of the connection table
    CONNECTION_REMOVE = auto()  # take a pcb out of its bucket, free it with its socket
    BUCKET_SECTION = auto()  # lock one bucket for an insertion or a removal, where no lock covers the whole table
    LISTENER_QUEUE = auto()  # one connection into, between or out of the queues of a listening socket, under its lock
    ACCEPT_CALL = auto()  # system call accept(): descriptor, file, the peer's address, events of the new socket
    CLOSE_CALL = auto()  # system call close(): descriptor, file, events
    RESET = auto()  # answer a segment of no connection with a reset
    SOFTIRQ = auto()  # begin and end to process frames in the context of an interrupt
    TIMER_INTERRUPT = auto()  # a timer's interrupt that polls a receive queue again
    POLL_QUEUE = auto()  # begin to poll a receive queue from the application's system call
    FORWARD = auto()  # put a packet on the queue of its owner's core, under that queue's lock
    RING_PUT = auto()  # put a request into the ring between an application and a thread of the stack
    RING_TAKE = auto()  # take a request out of such a ring
    AGGREGATE_RECEIVE = auto()  # compare a received frame with those that are held, and join it to one or hold it
    SEGMENT_SEND = auto()  # cut a segment off an aggregate that is sent
    ACCEPT_LOOK = auto()  # look whether connections wait in another thread's accept queue
    STEAL_EVENT = auto()  # take an event off another thread's queue, under its lock
    SYSCALL = auto()  # enter and leave the kernel, beside what the call itself does
    INODE_ALLOC = auto()  # a socket's inode, when it becomes a file
    DENTRY_ALLOC = auto()  # a socket's directory entry, when it becomes a file
    DENTRY_FREE = auto()  # the end of that entry
    INODE_FREE = auto()  # the end of that inode
    LISTENER_SCORE = auto()  # look at one of several sockets that listen on a port, to choose one
    CONNECTION_COMPLETE = auto()  # the third segment of a handshake: the listener's new connection is complete
    TIME_WAIT = auto()  # a connection enters TIME-WAIT
    RECEIVE_APPEND = auto()  # payload of one segment into the receive buffer, under its lock
    READ_CALL = auto()  # system call read(): entry, file and socket checks, exit
    READ_FRAME = auto()  # one received frame off the receive buffer, free its mbufs
    COPY_RECEIVE = auto()  # copy a started KB of received payload to the application
    COPY_SEND = auto()  # copy a started KB of written payload into the kernel
    APP_SERVICE = auto()  # what the application does for every request, beside the workload's own service time
    SOCKET_CALL = auto()  # system call socket(): descriptor, file, socket and pcb
    CONNECT_CALL = auto()  # system call connect(), up to the SYN: route, timers, events of the socket
    PORT_SEARCH = auto()  # look at one ephemeral port, whether it is free


class LockClass(Number):
    """Locks whose statistics are kept together. `GLOBAL` are the global TCP/IP locks: of the connection table and of groups."""

    GLOBAL = auto()
    CONNECTION = auto()
    SOCKET_BUFFER = auto()
    NIC = auto()
    RUN_QUEUE = auto()
    MESSAGE_PORT = auto()
    MBUF_ZONE = auto()
    EVENT_QUEUE = auto()
    ROUTE = auto()
    CALLOUT = auto()
    PAGE_QUEUE = auto()
    LISTENER = auto()
    BUCKET = auto()
    LOCK_PROFILE = auto()
    TURNSTILE = auto()


class LockScope(Number):
    """What a lock of a costs file exists once for."""

    KERNEL = auto()
    NODE = auto()
    CORE = auto()
    BUCKET = auto()
    LISTENER = auto()
    NONE = auto()  # there is no lock


class Access(Number):
    """How a footprint touches a line."""

    READ = auto()
    WRITE = auto()  # read and then written
    STORE = auto()  # written without being read
    LOCKED = auto()  # read and written by a locked instruction


class LineEvent(Number):
    """What a core of a windowed simulation did with a cache line, as the other cores learn it."""

    FETCHED = auto()
    OWNED = auto()
    EVICTED = auto()
    WRITTEN_BY_DEVICE = auto()


class Recorded(Number):
    """What a record of a trace is, and what its `subject` and `other` are."""

    OPERATION = auto()  # an operation; Operation
    PASSED = auto()  # time of one category: idle, spinning, a single line; Category, a lock
    WAIT = auto()  # the wait for a critical section; LockClass
    RUN = auto()  # a core begins to run a thread; the thread
    STOP = auto()  # a core leaves a thread; the thread
    WAKE = auto()  # a core wakes a thread; the thread
    IPI = auto()  # a core interrupts another one; that core
    GRANT = auto()  # a core that spun gets a lock; the lock, the core that released it
    SENT = auto()  # an item is left to another thread; the item
    TAKEN = auto()  # that thread takes it; the item
    INTERRUPT = auto()  # a card interrupts, and is masked; the queue of the card, its inbound thread
    UNMASK = auto()  # it may interrupt again; the queue of the card
    FRAME = auto()  # a frame leaves by a link; the link, its bytes on the wire


class ThreadState(Number):
    """What the scheduler knows of a thread."""

    BLOCKED = auto()
    RUNNABLE = auto()
    RUNNING = auto()


class Waiting(Number):
    """How far a thread is with the lock that it wants."""

    NOT = auto()
    FOR_LOCK = auto()
    GRANTED = auto()  # the lock was granted to the thread, which has not run since


class Fault(Number):
    """Why a simulation broke down. Each is a bug of the simulator, or a size that was computed wrong."""

    NONE = auto()
    ARRIVALS_FULL = auto()
    ITEM_POOL_EMPTY = auto()
    MBUF_ZONE_EMPTY = auto()
    CONNECTION_NOT_FOUND = auto()
    CONNECTION_ENDED_OPEN = auto()
    PORTS_EXHAUSTED = auto()
