"""How fast the stack moves bulk data on the wire, in each direction, against the kernel's TCP and curl.

Run as root from the repository root, so that its packages are found:

    python -m benchmarks.wire
    python -m benchmarks.wire --mib 64 --repetitions 5 --loss 1% --delay 5ms

A network namespace of its own has the TUN device, and curl in it fetches a file from this process, or uploads one; both ends
share this computer. The load is the processor time of the stack's process as a share of the transfer's time.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from netstack.errors import ConfigError
from netstack.host import Address
from netstack.wire.applications import Server
from netstack.wire.http.server import HttpConnection
from netstack.wire.impairment import ImpairmentSettings, option_name, parse_settings
from netstack.wire.namespace import ENDPOINT_ADDRESSES, Network, open_network, why_not
from netstack.wire.session import SessionConfig, connect_endpoint

MIB = 2**20
WARM_UP_BYTES = MIB


@dataclass(frozen=True)
class Transfer:
    """One measured transfer."""

    mbps: float
    load: float
    packets: int


def measure(network: Network, folder: Path, direction: str, config: SessionConfig) -> Transfer:
    """Download or upload the file ``bulk`` of a folder once, on an endpoint of its own."""
    with connect_endpoint(network.device, config) as session:
        address = ENDPOINT_ADDRESSES[0]
        listener = session.endpoint.listen(Address(address, 80), backlog=16)
        session.loop.applications.append(Server([listener], lambda socket, now_us: HttpConnection(socket, now_us, folder)))
        if direction == "download":
            options = ["-o", "/dev/null", f"http://{address}/bulk"]
        else:
            options = ["-T", str(folder / "bulk"), "-H", "Expect:", f"http://{address}/uploaded"]
        thread = threading.Thread(target=session.loop.run)
        thread.start()
        try:
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            subprocess.run(network.command("curl", "--silent", "--show-error", "--fail", *options), check=True)
            wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        finally:
            session.loop.stop()
            thread.join()
        size_bytes = (folder / "bulk").stat().st_size
        return Transfer(size_bytes * 8e-6 / wall_s, cpu_s / wall_s, session.loop.received + session.loop.sent)


def main() -> int:
    """Print the table; return 2 if nothing can be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wire", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--mib", type=int, default=256, help="size of a transfer in MiB; default: %(default)s")
    parser.add_argument("--mtu", type=int, default=1500, help="default: %(default)s")
    parser.add_argument("--repetitions", type=int, default=3, help="the median is shown; default: %(default)s")
    names = [option_name(field.name) for field in fields(ImpairmentSettings)]
    for name in names:
        parser.add_argument(f"--{name}", help="as of python -m netstack.wire")
    arguments = parser.parse_args()
    reason = why_not()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    texts = {name: getattr(arguments, name.replace("-", "_")) for name in names}
    try:
        impairments = parse_settings({name: text for name, text in texts.items() if text is not None})
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    config = SessionConfig(addresses=ENDPOINT_ADDRESSES, mtu_bytes=arguments.mtu, impairments=impairments)
    table = Table(
        "direction", "Mb/s", "lowest", "highest", "load", "packets/s", title=f"{arguments.mib} MiB, MTU {arguments.mtu}"
    )
    with open_network(arguments.mtu) as network, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for direction in ("download", "upload"):
            (folder / "bulk").write_bytes(os.urandom(WARM_UP_BYTES))
            measure(network, folder, direction, config)
            (folder / "bulk").write_bytes(os.urandom(arguments.mib * MIB))
            found = [measure(network, folder, direction, config) for _ in range(arguments.repetitions)]
            rates = [transfer.mbps for transfer in found]
            middle = sorted(found, key=lambda transfer: transfer.mbps)[len(found) // 2]
            seconds = arguments.mib * MIB * 8e-6 / middle.mbps
            figures = [statistics.median(rates), min(rates), max(rates)]
            table.add_row(
                direction, *(f"{rate:,.0f}" for rate in figures), f"{middle.load:.0%}", f"{middle.packets / seconds:,.0f}"
            )
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
