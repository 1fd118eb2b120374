"""How much memory tables take, by the system's account of this process (proc_pid_statm(5)); Linux only."""

import os
from pathlib import Path

import numpy as np
import pytest

from netstack.jit.records import allocate

STATM = Path("/proc/self/statm")
RECORD = np.dtype([("bytes", "u1", 1024)])
COUNT = 64 * 1024  # 64 MiB

pytestmark = pytest.mark.skipif(not STATM.exists(), reason="no /proc/self/statm")


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_sparse_table_takes_a_small_page_for_a_record_that_is_written() -> None:
    before = resident_bytes()
    table = allocate(RECORD, COUNT, sparse=True)
    table["bytes"][:: COUNT // 64, 0] = 1  # of each MiB one record
    assert resident_bytes() - before < 4 << 20
    assert table["bytes"][:, 0].sum() == 64  # reading all takes nothing
    assert resident_bytes() - before < 4 << 20
    table["bytes"][:, 0] = 1
    assert resident_bytes() - before >= 60 << 20
