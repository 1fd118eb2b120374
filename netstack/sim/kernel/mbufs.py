"""The allocator of mbufs: a free list per core, and a zone that all cores share. Knows nothing of what mbufs hold.

Source of the structure: uma(9) of FreeBSD 7.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.charging import charge, charge_section
from netstack.sim.machine.numbers import Fault, Instance, LockClass, Operation
from netstack.sim.machine.state import core_of
from netstack.sim.stack.state import mbuf_of

ZONE_BATCH = 128  # mbufs per exchange between a core and the shared zone
ZONE_LIMIT = 256  # most free mbufs that a core keeps


@compiled
def get_mbuf(machine, stack, core):
    """Allocate an mbuf from the core's free list; return its index.

    An empty list is refilled from the shared zone. Faults if the zone is empty.
    """
    cpu = core_of(machine, core)
    if cpu.free_mbuf < 0:
        _exchange(machine, stack, core, -ZONE_BATCH)
        if cpu.free_mbuf < 0:
            machine.fault = Fault.MBUF_ZONE_EMPTY
            return 0
    mbuf = cpu.free_mbuf
    cpu.free_mbuf = mbuf_of(stack, mbuf).next
    cpu.free_mbufs -= 1
    stack.mbufs_taken += 1
    cpu.instance[Instance.MBUF] = mbuf
    charge(machine, core, Operation.MBUF_ALLOC)
    return mbuf


@compiled
def put_mbuf(machine, stack, core, mbuf):
    """Free an mbuf to the core's free list. A long list gives a batch back to the shared zone."""
    cpu = core_of(machine, core)
    cpu.instance[Instance.MBUF] = mbuf
    charge(machine, core, Operation.MBUF_FREE)
    mbuf_of(stack, mbuf).next = cpu.free_mbuf
    cpu.free_mbuf = mbuf
    cpu.free_mbufs += 1
    stack.mbufs_freed += 1
    if cpu.free_mbufs > ZONE_LIMIT:
        _exchange(machine, stack, core, ZONE_BATCH)


@compiled
def _exchange(machine, stack, core, count):
    """Move `count` mbufs from the core to the zone, or -`count` the other way, under the zone's lock."""
    cpu = core_of(machine, core)
    charge_section(machine, core, LockClass.MBUF_ZONE, Operation.MBUF_ZONE)
    for _ in range(count):
        mbuf = cpu.free_mbuf
        cpu.free_mbuf = mbuf_of(stack, mbuf).next
        mbuf_of(stack, mbuf).next = stack.free_mbuf
        stack.free_mbuf = mbuf
    for _ in range(-count):
        mbuf = stack.free_mbuf
        if mbuf < 0:
            machine.fault = Fault.MBUF_ZONE_EMPTY
            return
        stack.free_mbuf = mbuf_of(stack, mbuf).next
        mbuf_of(stack, mbuf).next = cpu.free_mbuf
        cpu.free_mbuf = mbuf
    stack.free_mbufs += count
    cpu.free_mbufs -= count
