"""The command ``python -m netstack.wire``: what its options are and mean, and one line for everything that goes wrong."""

import argparse
import signal
import sys
from dataclasses import fields
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path

from netstack.errors import ConfigError
from netstack.host.ip import is_unicast
from netstack.installation import started_as
from netstack.wire.commands import TransferFailedError, run_client, run_server
from netstack.wire.errors import WireError
from netstack.wire.impairment import ImpairmentSettings, option_name, parse_settings
from netstack.wire.session import SessionConfig

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
DEFAULT_ADDRESSES = ("10.99.0.2/24", "fd99::2/64")
SMALLEST_MTU, LARGEST_MTU = 1280, 65535
"""RFC 8200 section 5; the length field of IPv4."""
SERVERS = {
    "serve": ("serve the files of a folder by HTTP/1.1, and take uploads", 80),
    "echo": ("send back what arrives (RFC 862)", 7),
    "sink": ("throw away what arrives (RFC 863), and say how much and how fast", 9),
    "source": ("send bytes to everybody who connects", 19),
}
EPILOG = """\
Needs root, because it makes a TUN device: a network interface whose other side is this process. The kernel can reach
the stack at its addresses as soon as a command runs, for example

    {command} serve . --loss 5% --delay 20ms     then elsewhere: curl http://10.99.0.2/
    {command} get http://10.99.0.1:8000/file      with a server of the kernel's at port 8000

Without root, an administrator makes the device before (ip tuntap add netstack0 mode tun user USER, ip address add ..., ip link
set netstack0 up), and the command gets --device netstack0 --no-configure.
"""
IMPAIRMENTS = {
    "loss": ("SHARE", "share of packets that are lost, such as 5%%"),
    "duplicate": ("SHARE", "share of packets that arrive twice"),
    "corrupt": ("SHARE", "share of packets in which a bit is inverted"),
    "reorder": ("SHARE", "share of packets that later ones overtake"),
    "reorder-distance": ("COUNT", "by how many packets at most; default: 3"),
    "delay": ("TIME", "one-way delay, such as 50ms"),
    "jitter": ("TIME", "by how much the delay varies, more or less"),
    "rate": ("RATE", "bits per second, such as 100mbit"),
    "queue": ("SIZE", "what may wait for the rate, such as 64KiB; default: 256KiB"),
    "seed": ("NUMBER", "of the random numbers that decide; default: 1"),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    layout = argparse.RawDescriptionHelpFormatter
    description = "The TCP of this package on a network interface: servers and clients for real peers."
    command = started_as("python -m netstack.wire")
    epilog = EPILOG.format(command=command)
    parser = argparse.ArgumentParser(command, description=description, epilog=epilog, formatter_class=layout)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = _common_options()
    for name, (help_text, port) in SERVERS.items():
        server = commands.add_parser(
            name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".", parents=[common]
        )
        if name == "serve":
            server.add_argument("root", nargs="?", type=Path, default=Path(), metavar="FOLDER", help="default: this one")
            server.add_argument("--read-only", action="store_true", help="take no uploads")
        if name == "source":
            server.add_argument("--bytes", default="16MiB", metavar="SIZE", help="for each connection; default: %(default)s")
        server.add_argument("--port", type=int, default=port, help="default: %(default)s")
        server.add_argument("--backlog", type=int, default=128, help="connections that wait to be accepted; default: %(default)s")
    get = commands.add_parser("get", help="fetch a file by HTTP", description="Fetch a file by HTTP.", parents=[common])
    get.add_argument("url", metavar="URL", help="such as http://10.99.0.1:8000/file; hosts are addresses")
    get.add_argument("-o", "--output", metavar="FILE", help="default: as in the URL; - is standard output")
    put = commands.add_parser("put", help="upload a file by HTTP", description="Upload a file by HTTP (PUT).", parents=[common])
    put.add_argument("file", type=Path, metavar="FILE", help="what to upload")
    put.add_argument("url", metavar="URL", help="where to; if it ends in a slash, the name of the file is appended")
    for client in (get, put):
        client.add_argument(
            "--timeout", default="30s", metavar="TIME", help="give up if nothing arrives for so long; default: 30s"
        )
    return parser


def _common_options() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    device = common.add_argument_group("device and addresses")
    device.add_argument("--device", default="netstack0", metavar="NAME", help="TUN device, made if need be; default: %(default)s")
    device.add_argument("--namespace", metavar="NAME", help="network namespace (see ip netns) that the device is moved to")
    help_text = f"address of the stack and length of its network's prefix; default: {' and '.join(DEFAULT_ADDRESSES)}"
    device.add_argument("--address", action="append", metavar="A/N", help=help_text)
    help_text = "address of the kernel on the device; default: the first of each network"
    device.add_argument("--kernel-address", action="append", metavar="A/N", help=help_text)
    device.add_argument("--mtu", type=int, default=1500, metavar="BYTES", help="largest packet; default: %(default)s")
    device.add_argument("--no-configure", action="store_true", help="the device has its addresses, and is up")
    device.add_argument("--pcap", type=Path, metavar="FILE", help="write what the stack receives and sends, for Wireshark")
    network = common.add_argument_group("impairments (of each direction on its own)")
    for field in fields(ImpairmentSettings):
        metavar, help_text = IMPAIRMENTS[option_name(field.name)]
        network.add_argument(f"--{option_name(field.name)}", metavar=metavar, help=help_text)
    network.add_argument("--direction", choices=("both", "in", "out"), default="both", help="seen from the stack; default: both")
    return common


def session_config(arguments: argparse.Namespace) -> SessionConfig:
    """Return what the options say about device, addresses and impairments.

    Raises:
        ConfigError: An option's value is not allowed.
    """
    stack = [_interface("--address", text) for text in arguments.address or DEFAULT_ADDRESSES]
    kernel = [_interface("--kernel-address", text) for text in arguments.kernel_address or ()]
    if not kernel:
        kernel = [_first_other(interface) for interface in stack]
    addresses = [interface.ip for interface in (*stack, *kernel)]
    if len(set(addresses)) < len(addresses):
        raise ConfigError("--address", " ".join(map(str, addresses)), "the addresses of stack and kernel must differ")
    if not SMALLEST_MTU <= arguments.mtu <= LARGEST_MTU:
        raise ConfigError("--mtu", arguments.mtu, f"allowed are {SMALLEST_MTU} to {LARGEST_MTU}")
    names = [option_name(field.name) for field in fields(ImpairmentSettings)]
    texts = {name: getattr(arguments, name.replace("-", "_")) for name in names}
    return SessionConfig(
        device=arguments.device,
        namespace=arguments.namespace,
        addresses=tuple(str(interface.ip) for interface in stack),
        broadcast_addresses=tuple(address for interface in stack for address in _broadcasts(interface)),
        kernel_addresses=tuple(str(interface) for interface in kernel),
        mtu_bytes=arguments.mtu,
        configure=not arguments.no_configure,
        pcap=arguments.pcap,
        impairments=parse_settings({name: text for name, text in texts.items() if text is not None}),
        direction=arguments.direction,
    )


def _interface(option: str, text: str) -> IPv4Interface | IPv6Interface:
    try:
        interface = ip_interface(text)
    except ValueError as error:
        raise ConfigError(option, text, "an address and the length of its network's prefix, such as 10.99.0.2/24") from error
    if interface.network.num_addresses < 2:
        raise ConfigError(option, text, "the network must have room for two: the stack and the kernel")
    if interface.ip.compressed in _broadcasts(interface) or "%" in text or not is_unicast(interface.ip.packed):
        raise ConfigError(option, text, "the address of a single host, without a zone, is needed")
    return interface


def _broadcasts(interface: IPv4Interface | IPv6Interface) -> tuple[str, ...]:
    """Return the addresses that mean all hosts of a network (RFC 1122, section 3.2.1.3; RFC 3021 knows none of two)."""
    if interface.version == 6 or interface.network.prefixlen >= 31:
        return ()
    return str(interface.network.broadcast_address), str(interface.network.network_address)


def _first_other(interface: IPv4Interface | IPv6Interface) -> IPv4Interface | IPv6Interface:
    """Return the first address of the network that is not the stack's own."""
    network = interface.network
    hosts = network.hosts()
    first = next(address for address in hosts if address != interface.ip)
    return ip_interface(f"{first}/{network.prefixlen}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command, by default that of the process.

    Returns:
        The exit code: 0, 1 if a transfer failed, 2 for what cannot be done as asked, 130 if interrupted.
    """
    options = build_parser().parse_args(arguments)
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        config = session_config(options)
        if options.command in SERVERS:
            _check_port("--port", options.port)
            run_server(options, config)
        else:
            run_client(options, config)
    except KeyboardInterrupt:
        return INTERRUPTED
    except TransferFailedError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except (WireError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


def _check_port(option: str, port: int) -> None:
    if not 1 <= port <= 65535:
        raise ConfigError(option, port, "allowed are 1 to 65535")
