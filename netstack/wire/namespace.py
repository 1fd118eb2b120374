"""A TUN device in a network namespace of its own, whose kernel is the peer: for tests and measurements."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netstack.wire.device import CLONE_DEVICE, TunDevice, run_ip
from netstack.wire.errors import WireError

KERNEL_ADDRESSES = ("10.99.0.1", "fd99::1")
ENDPOINT_ADDRESSES = ("10.99.0.2", "fd99::2")


@dataclass(frozen=True)
class Network:
    """The namespace and the device in it, which this process holds open."""

    namespace: str
    device: TunDevice

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs another one in the namespace."""
        return ["ip", "netns", "exec", self.namespace, *arguments]

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command in the namespace; what it prints is kept as text."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(self.command(*arguments), text=True, **options)


def why_not() -> str | None:
    """Return why there can be no such network here, or None."""
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root"
    if not Path(CLONE_DEVICE).exists():
        return f"needs {CLONE_DEVICE}"
    if shutil.which("ip") is None:
        return "needs the command ip"
    try:
        with open_network():
            return None
    except WireError as error:
        return f"no network namespace here: {error}"


@contextmanager
def open_network(mtu_bytes: int = 1500) -> Iterator[Network]:
    """Make a namespace with a TUN device; the kernel's side has `KERNEL_ADDRESSES`."""
    name = f"netstack-{uuid.uuid4().hex[:12]}"
    run_ip("netns", "add", name)
    try:
        run_ip("link", "set", "lo", "up", namespace=name)
        with TunDevice(mtu_bytes=mtu_bytes) as device:
            device.configure([f"{KERNEL_ADDRESSES[0]}/24", f"{KERNEL_ADDRESSES[1]}/64"], namespace=name)
            yield Network(name, device)
    finally:
        with suppress(WireError):
            run_ip("netns", "delete", name)
