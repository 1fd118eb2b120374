"""A stack on a device, ready to be used: puts device, endpoint, impairments, capture and loop together as configured."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from netstack.host import Endpoint, EndpointConfig
from netstack.wire.device import TunDevice
from netstack.wire.errors import WireError
from netstack.wire.impairment import Impairment, ImpairmentSettings
from netstack.wire.loop import EventLoop
from netstack.wire.pcap import PcapWriter


@dataclass(frozen=True, kw_only=True)
class SessionConfig:
    """Where the stack is, and what its network is like."""

    device: str = "netstack%d"
    """Name of the TUN device; ``%d`` is a free number."""
    namespace: str | None = None
    """Network namespace that the device is moved to."""
    addresses: tuple[str, ...] = ("10.99.0.2", "fd99::2")
    """Of the stack."""
    broadcast_addresses: tuple[str, ...] = ()
    """Of the networks that the stack is in."""
    kernel_addresses: tuple[str, ...] = ("10.99.0.1/24", "fd99::1/64")
    """Of the kernel on the device, with the length of the prefix."""
    mtu_bytes: int = 1500
    configure: bool = True
    """Whether the device gets its addresses and is brought up."""
    pcap: Path | None = None
    impairments: ImpairmentSettings = field(default_factory=ImpairmentSettings)
    direction: str = "both"
    """Of the impairments: both, in or out, seen from the stack."""


@dataclass(frozen=True)
class Session:
    """The parts that are running."""

    device: TunDevice
    endpoint: Endpoint
    loop: EventLoop


@contextmanager
def open_session(config: SessionConfig, log: Callable[[str], None] = lambda line: None) -> Iterator[Session]:
    """Open a device and what belongs to it. At the end connections that are left are reset. `log` gets what goes wrong.

    Raises:
        WireError: There is no device to be had, or the capture cannot be written.
    """
    with TunDevice(config.device, mtu_bytes=config.mtu_bytes) as device:
        if config.configure:
            device.configure(config.kernel_addresses, namespace=config.namespace)
        with connect_endpoint(device, config, log) as session:
            yield session


@contextmanager
def connect_endpoint(
    device: TunDevice, config: SessionConfig, log: Callable[[str], None] = lambda line: None
) -> Iterator[Session]:
    """Run a new endpoint on a device that is open and configured."""
    with ExitStack() as stack:
        endpoint = Endpoint(
            EndpointConfig(addresses=config.addresses, mtu_bytes=config.mtu_bytes, broadcast_addresses=config.broadcast_addresses)
        )
        loop = EventLoop(
            device,
            endpoint,
            inbound=_impairment(config, "in"),
            outbound=_impairment(config, "out"),
            capture=None if config.pcap is None else stack.enter_context(_capture(config.pcap)),
            log=log,
        )
        stack.callback(loop.close)
        yield Session(device, endpoint, loop)


def _impairment(config: SessionConfig, direction: str) -> Impairment | None:
    if config.impairments.is_perfect or config.direction not in ("both", direction):
        return None
    return Impairment(config.impairments, direction)


def _capture(path: Path) -> PcapWriter:
    try:
        return PcapWriter(path)
    except OSError as error:
        raise WireError(f"--pcap {path}: {error.strerror}") from error
