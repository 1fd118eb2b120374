"""The connection table: searches, and the locks around them and around changes. Knows no connection's end and no protocol."""

from netstack.jit.compilation import compiled
from netstack.sim.machine.charging import charge, charge_lock_word, touch_structure
from netstack.sim.machine.numbers import Access, Instance, LockClass, Operation
from netstack.sim.machine.sections import enter_section, leave_section
from netstack.sim.machine.state import core_of
from netstack.sim.stack.state import (
    BUCKETS_PER_LINE,
    bucket_of,
    bucket_of_hash,
    bucket_section_of,
    flow_of,
    group_section_of,
    packet_hash,
    pcb_of,
    segment_of,
)
from netstack.tcp.lookup import lookup_matches


@compiled
def lookup_connection(machine, stack, core, packet):
    """Find a received packet's connection by its hash bucket and chain of pcbs; return its index, -1 if there is none."""
    bucket = bucket_of_hash(stack, packet_hash(stack, packet))
    core_of(machine, core).instance[Instance.BUCKET] = bucket // BUCKETS_PER_LINE
    charge(machine, core, Operation.LOOKUP)
    segment = segment_of(stack, packet)
    index = bucket_of(stack, bucket).head
    while index >= 0:
        touch_structure(machine, core, stack.inpcb_kind, index, 0, Access.READ)
        if lookup_matches(
            stack.pcb_table,
            index,
            segment.destination_address,
            segment.destination_port,
            segment.source_address,
            segment.source_port,
        ):
            return index
        index = pcb_of(stack, index).hash_next
    return -1


@compiled
def enter_table(machine, stack, core, flow_index):
    """Take the lock of the table that a connection is in, if groups have tables. Those of a receive queue are in one group.

    Source: in_pcblookup_group() of FreeBSD 9, with PCBGROUP and RSS.
    """
    if stack.group_tables != 0:
        group = flow_of(stack, flow_index).queue % stack.groups
        enter_section(machine, core, group_section_of(stack, group), LockClass.GLOBAL)
        charge_lock_word(machine, core, stack.table_lock_first + group, Operation.LOCK_ACQUIRE)


@compiled
def leave_table(machine, stack, core, flow_index):
    """Release the lock of the table that a connection is in, if groups have tables."""
    if stack.group_tables != 0:
        group = flow_of(stack, flow_index).queue % stack.groups
        charge_lock_word(machine, core, stack.table_lock_first + group, Operation.LOCK_RELEASE)
        leave_section(machine, core, group_section_of(stack, group), LockClass.GLOBAL)


@compiled
def enter_bucket(machine, stack, core, flow_index, bucket):
    """Enter the section of a hash bucket, if look-ups do not exclude changes of the table."""
    core_of(machine, core).instance[Instance.BUCKET] = bucket // BUCKETS_PER_LINE
    enter_table(machine, stack, core, flow_index)
    if stack.lookup_first != 0:
        enter_section(machine, core, bucket_section_of(stack, bucket), LockClass.BUCKET)
        charge(machine, core, Operation.BUCKET_SECTION)


@compiled
def leave_bucket(machine, stack, core, flow_index, bucket):
    """Leave what `enter_bucket` entered."""
    if stack.lookup_first != 0:
        leave_section(machine, core, bucket_section_of(stack, bucket), LockClass.BUCKET)
    leave_table(machine, stack, core, flow_index)
