"""The check of bounds: what lies in a table passes, a byte before or behind it does not, and freed tables are forgotten."""

import os
import subprocess
import sys

import numpy as np
import pytest

from netstack.jit import records
from netstack.jit.records import allocate, check_inside
from tests.helpers.folders import ROOT

PAIR = np.dtype([("first", "i8"), ("second", "i8")])


@pytest.fixture(autouse=True)
def checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "CHECKS", True)
    monkeypatch.setattr(records, "_tables", [])


def test_all_records_of_a_table_are_inside_and_nothing_else() -> None:
    before, table, behind = (allocate(PAIR, 3) for _ in range(3))
    start = table.ctypes.data
    for index in range(3):
        check_inside(start, index * PAIR.itemsize, PAIR.itemsize)
        check_inside(start + index * PAIR.itemsize, 0, PAIR.itemsize)
    check_inside(start + 2 * PAIR.itemsize, -PAIR.itemsize, PAIR.itemsize)
    for address, offset in ((start, 3 * PAIR.itemsize), (start, -1), (start, 2 * PAIR.itemsize + 1), (start - 1, 1), (0, start)):
        with pytest.raises(IndexError, match="not in the table"):
            check_inside(address, offset, PAIR.itemsize)
    for other in (before, behind):  # the record is in a table, but in another one
        with pytest.raises(IndexError):
            check_inside(start, other.ctypes.data - start, PAIR.itemsize)


def test_a_table_takes_the_place_of_freed_ones() -> None:
    for start, size in ((100, 10), (120, 10), (140, 10), (105, 30)):
        records._note_table(start, size)
    assert records._tables == [(105, 135), (140, 150)]


def test_interpreted_code_that_leaves_its_table_is_stopped() -> None:
    program = """
from netstack.sim.machine.state import Core
from netstack.jit.records import allocate, record_accessor
table = allocate(Core.dtype, 4)
at = record_accessor(Core.dtype)
assert at(table.ctypes.data, 3).clock == 0
at(table.ctypes.data, 4)
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "NETSTACK_CHECK": "1"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "IndexError" in done.stderr.splitlines()[-1]
