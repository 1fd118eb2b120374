"""The command ``python -m netstack.tcp.script`` as it was called in version 0.1: it is ``python -m netstack.script`` now."""

import runpy

if __name__ == "__main__":
    runpy.run_module("netstack.script", run_name="__main__", alter_sys=True)
