"""The same server as one would write it by hand with SimPy: the peer that the simulator's speed is compared with.

Threads are SimPy processes; cores take them from one queue of ready threads, and adaptive locks hand over by events. Machine,
operations, footprints, workload, organization and the connections' draws come from the same composed configuration, so that
instruction cycles and lines touched per operation are the same. Time is in core cycles.

What is simplified, always in the direction of less work:

* TCP is byte counts: no headers, no sequence arithmetic, no timestamps, no RTT estimate, no retransmission. The congestion
  window is slow start up to the receive buffer, cut to one segment when the interface has no room; nothing on the wire is lost.
* A frame that found no room and has nothing in flight goes out when the ring is next cleaned, not after a timeout; the TCP
  clock thread does not exist.
* Short critical sections (socket buffer, NIC, run queue, message port, event queue, mbuf zone, route, callout wheel, page
  queues) are intervals that a later comer waits out, as in the simulator.
* Interrupts of a core that idles or spins are paid by the thread that runs there next.
* An acknowledgment takes no time on the link, and receive ring and message ports never overflow.
* A connection's hash is computed once. Of statistics there are payload and segments.

Threads are preempted only where their costs are spent: before locks, and after each segment; what a step changes is seen by
the others from its beginning on. Only the exclusive L2 is there, with exact LRU and consecutive pages.
"""

from benchmarks.simpy_model.caches import Caches, Layout, UnsupportedError
from benchmarks.simpy_model.server import PeerResult, Server

__all__ = ["Caches", "Layout", "PeerResult", "Server", "UnsupportedError"]
