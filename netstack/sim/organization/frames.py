"""Takes received frames off a card's ring, up to whoever processes their packets. Inbound threads and polling applications do."""

from netstack.jit.compilation import compiled
from netstack.sim.machine.charging import charge
from netstack.sim.machine.nic import receive_frame, take_arrival
from netstack.sim.machine.numbers import Instance, Operation
from netstack.sim.machine.state import core_of, nic_of, receive_slot_of
from netstack.sim.organization.items import begin_item
from netstack.sim.organization.queues import forward, send_message
from netstack.sim.stack.state import free_item, item_of, packet_group


@compiled
def take_frame(machine, stack, core, nic):
    """Take one frame of a NIC up to its owner, on the thread that runs on `core`; return whether there was one."""
    cpu = core_of(machine, core)
    packet, stored = take_arrival(machine, nic, cpu.clock)
    while packet >= 0:
        if not stored:
            free_item(stack, packet)
        packet, stored = take_arrival(machine, nic, cpu.clock)
    slot = receive_frame(machine, nic)
    if slot < 0:
        return False
    cpu.instance[Instance.NIC] = nic
    if machine.budget != 0:
        nic_of(machine, nic).polled += 1
    packet = receive_slot_of(machine, nic, slot - nic * machine.receive_slots).item
    item_of(stack, packet).slot = slot
    cpu.instance[Instance.RX_SLOT] = slot
    charge(machine, core, Operation.DRIVER_RECEIVE)
    if stack.input_by_owner == 0:
        charge(machine, core, Operation.IP_INPUT)
    if stack.forwards != 0:
        forward(machine, stack, core, packet)
    elif stack.queue_packets != 0:
        send_message(machine, stack, core, packet, packet_group(stack, packet) % stack.ports)
    else:
        begin_item(machine, stack, core, packet, packet_group(stack, packet))
    return True
