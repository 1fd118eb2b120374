"""The command as it was called in version 0.1: it is ``python -m tests.host.fuzz_segments`` now."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    runpy.run_module("tests.host.fuzz_segments", run_name="__main__", alter_sys=True)
