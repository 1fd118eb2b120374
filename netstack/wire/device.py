"""A TUN device: IP packets of the kernel as bytes, and the ``ip`` command that gives the device addresses.

Linux only. The device may live in another network namespace than the process that holds it open. Knows no protocol above IP.
"""

import errno
import fcntl
import os
import struct
import subprocess
from collections import deque
from collections.abc import Sequence
from types import TracebackType

from netstack.wire.errors import WireError

CLONE_DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA  # <linux/if_tun.h>
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
IFREQ = struct.Struct("16sH22x")  # struct ifreq: name, flags, padding to 40 bytes
LONGEST_NAME = 15  # IFNAMSIZ without its NUL
KERNEL_QUEUE_PACKETS = 4096
"""Packets that wait in the device until they are read. The default of 500 is less than one window of a fast connection, and
the kernel does not slow down a sender whose packets lie there."""

_LOST = (errno.ENOBUFS, errno.ENOMEM, errno.EINVAL, errno.EIO)
"""A network drops: no memory for the packet, not an IP packet (a corrupted version), or the device is down."""


class TunDevice:
    """An open TUN device, non-blocking, without a packet information header.

    Attributes:
        name: As the kernel knows it.
        mtu_bytes: Largest packet that is read.
        refused: Packets that the kernel did not take, which are lost.
    """

    def __init__(self, name: str = "netstack%d", *, mtu_bytes: int = 1500) -> None:
        """Open a device of that name, or make it; ``%d`` is replaced by the first free number.

        Raises:
            WireError: There are no TUN devices here, or not for this user.
        """
        if not 0 < len(os.fsencode(name)) <= LONGEST_NAME or "/" in name or name.split() != [name]:
            raise WireError(f"device name {name!r}: allowed are 1 to {LONGEST_NAME} bytes without slash and blank")
        self.mtu_bytes = mtu_bytes
        self.refused = 0
        self._fd = _open_clone_device()
        try:
            request = IFREQ.pack(os.fsencode(name), IFF_TUN | IFF_NO_PI)
            answer = fcntl.ioctl(self._fd, TUNSETIFF, request)
        except OSError as error:
            os.close(self._fd)
            raise WireError(_why_not_attached(name, error)) from error
        self.name = os.fsdecode(IFREQ.unpack(answer)[0].rstrip(b"\0"))

    def fileno(self) -> int:
        return self._fd

    def read(self, limit: int) -> list[bytes]:
        """Return up to `limit` packets that are there, in order.

        Raises:
            WireError: The device was removed.
        """
        read, fd, size = os.read, self._fd, self.mtu_bytes
        packets: list[bytes] = []
        try:
            for _ in range(limit):
                packets.append(read(fd, size))
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in _LOST:
                raise WireError(f"device {self.name}: {error.strerror}") from error
        return packets

    def write(self, packets: deque[bytes]) -> bool:
        """Give packets to the kernel, from the left of `packets`; return False if it takes no more for now.

        Raises:
            WireError: The device was removed.
        """
        write, fd = os.write, self._fd
        while packets:
            try:
                write(fd, packets[0])
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno not in _LOST:
                    raise WireError(f"device {self.name}: {error.strerror}") from error
                self.refused += 1
            packets.popleft()
        return True

    def configure(self, addresses: Sequence[str], *, namespace: str | None = None) -> None:
        """Move the device to a namespace, give the kernel's side addresses such as ``10.0.0.1/24``, and bring it up.

        The routes to the addresses' networks come with them.

        Raises:
            WireError: What the ``ip`` command says.
        """
        if namespace is not None:
            run_ip("link", "set", self.name, "netns", namespace)
        queue = str(KERNEL_QUEUE_PACKETS)
        run_ip("link", "set", self.name, "mtu", str(self.mtu_bytes), "txqueuelen", queue, "up", namespace=namespace)
        for address in addresses:
            options = ["nodad"] if ":" in address else []
            run_ip("address", "replace", address, "dev", self.name, *options, namespace=namespace)

    def close(self) -> None:
        """Close the device; it disappears, unless it was made persistent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "TunDevice":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def run_ip(*arguments: str, namespace: str | None = None) -> str:
    """Run the ``ip`` command of iproute2, in a network namespace of that name; return what it prints.

    Raises:
        WireError: It is not installed, or what it says.
    """
    command = ["ip", *(["-netns", namespace] if namespace is not None else []), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise WireError("the command `ip` is not installed (package iproute2)") from error
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise WireError(f"`{' '.join(command)}`: {reason}")
    return done.stdout


def _open_clone_device() -> int:
    try:
        return os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError as error:
        raise WireError(f"{CLONE_DEVICE} may not be opened by this user: run as root") from error
    except OSError as error:
        raise WireError(f"{CLONE_DEVICE}: {error.strerror}; it is a part of Linux, `modprobe tun` may bring it") from error


def _why_not_attached(name: str, error: OSError) -> str:
    if error.errno == errno.EPERM:
        return f"device {name}: a TUN device needs root, or one made before with `ip tuntap add {name} mode tun user USER`"
    if error.errno == errno.EBUSY:
        return f"device {name} is in use by another process"
    if error.errno == errno.EINVAL:
        return f"device {name} exists and is no TUN device, or its name is not allowed"
    return f"device {name}: {error.strerror}"
