"""Forwards ``python -m netstack.tcp.script``, the command's name in version 0.1, to ``python -m netstack.script``."""

import runpy

if __name__ == "__main__":
    runpy.run_module("netstack.script", run_name="__main__", alter_sys=True)
