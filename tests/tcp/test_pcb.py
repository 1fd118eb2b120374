"""What is left of a connection in records that are used again: nothing, and what was zero stays unwritten."""

import mmap

import numpy as np
import pytest

from netstack.tcp.pcb import COLD, PCB, cold_of, pcb_renew
from tests.helpers.packet_trace import Endpoint, new_pcb, record


def address_of(part: np.ndarray) -> int:
    return part.__array_interface__["data"][0]


def test_a_renewed_pcb_is_its_template_and_its_cold_state_is_zero() -> None:
    endpoint = Endpoint()
    endpoint.receive(1, "2000:3000 ack 0")
    endpoint.receive(2, "5000:6000 ack 0")
    assert endpoint.pcb.reordered_count == 2
    assert endpoint.cold.reordered_end[1] == (endpoint.irs + 6000) % 2**32
    template, _ = new_pcb()
    template.mss, template.rto_us = 1460, 3_000_000
    own = int(endpoint.pcb.cold_address)
    pcb_renew(address_of(endpoint.pcb), address_of(template))
    assert endpoint.pcb.cold_address == own == address_of(endpoint.cold)
    endpoint.pcb.cold_address = template.cold_address
    assert endpoint.pcb.tobytes() == template.tobytes()
    assert endpoint.cold.tobytes() == bytes(COLD.itemsize)


@pytest.mark.skipif(not hasattr(mmap, "PROT_READ"), reason="pages cannot be read-only")
def test_cold_state_that_is_zero_is_not_written() -> None:
    """It lies on pages that may be read only: a write would end the process."""
    pages = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    cold = np.frombuffer(pages, COLD, 1)
    pcb, template = record(PCB), record(PCB)
    pcb.cold_address = cold.ctypes.data
    template.snd_una = 77
    pcb_renew(address_of(pcb), address_of(template))
    assert pcb.snd_una == 77
    assert cold_of(pcb).high_rxt == 0


def test_the_pcb_fills_lines_of_the_hosts_caches() -> None:
    """Its groups of fields begin on lines only if all records do."""
    assert PCB.itemsize % 64 == 0
