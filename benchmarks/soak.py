"""A soak: mixed traffic of curl through a bad network for minutes, and the memory of the server's process meanwhile."""

import filecmp
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from netstack.host import Address
from netstack.wire.applications import Server
from netstack.wire.http.server import HttpConnection
from netstack.wire.impairment import parse_settings
from netstack.wire.namespace import ENDPOINT_ADDRESSES, Network, open_network, why_not
from netstack.wire.session import Session, SessionConfig, connect_endpoint

IMPAIRMENTS = {"loss": "2%", "duplicate": "1%", "corrupt": "1%", "reorder": "2%", "delay": "5ms", "jitter": "2ms"}
PARALLEL = 4
WARM_UP_SHARE = 0.2
MOST_GROWTH_MIB = 8.0
SIZES = (0, 1, 1000, 20_000, 300_000, 3_000_000)


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _client(network: Network, folder: Path, end_s: float, seed: int, results: list[str]) -> None:
    """Run curl again and again: downloads, uploads, ranges, aborted transfers."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        received = Path(name) / "received"
        while time.monotonic() < end_s:
            host = chance.choice((ENDPOINT_ADDRESSES[0], f"[{ENDPOINT_ADDRESSES[1]}]"))
            size = chance.choice(SIZES)
            source = folder / str(size)
            kind = chance.choice(("get", "get", "put", "range", "cut"))
            options = {
                "get": ["-o", str(received), f"http://{host}/{size}"],
                "put": ["-T", str(source), f"http://{host}/up-{seed}"],
                "range": ["-r", "0-99", "-o", str(received), f"http://{host}/1000"],
                "cut": ["-m", "0.2", "-o", str(received), f"http://{host}/3000000"],
            }[kind]
            command = network.command("curl", "--silent", "--fail", "--globoff", "-m", "120", *options)
            code = subprocess.run(command, check=False).returncode
            if kind == "get":
                good = code == 0 and (size == 0 or filecmp.cmp(received, source, shallow=False))
            elif kind == "put":
                good = code == 0 and filecmp.cmp(folder / f"up-{seed}", source, shallow=False)
            else:
                good = code == 0 or kind == "cut"
            results.append("" if good else f"{kind} of {size} bytes by {host}: curl ended with {code}")


def _warm_up(network: Network) -> None:
    """Let the process compile what it needs, before anybody waits for it."""
    for host in (ENDPOINT_ADDRESSES[0], f"[{ENDPOINT_ADDRESSES[1]}]"):
        command = network.command("curl", "--silent", "--globoff", "-m", "900", "-o", os.devnull, f"http://{host}/1000")
        subprocess.run(command, check=False)


def _watch(session: Session, end_s: float, minutes: float) -> list[tuple[float, float, int, int]]:
    """Return minute, memory, connections and payload, twenty times."""
    begin_s, found = time.monotonic(), []
    while time.monotonic() < end_s:
        time.sleep(max(min(minutes * 60 / 20, end_s - time.monotonic()), 0.1))
        passed = (time.monotonic() - begin_s) / 60
        endpoint = session.endpoint
        found.append((passed, _resident_mib(), len(endpoint.connections), endpoint.payload_bytes))
    return found


def soak(minutes: float, seed: int) -> int:
    """Print how the memory went; return 1 if a transfer failed or the memory grew, 2 if there can be no network here."""
    reason = why_not()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    config = SessionConfig(addresses=ENDPOINT_ADDRESSES, impairments=parse_settings(IMPAIRMENTS | {"seed": str(seed)}))
    lines: list[str] = []
    results: list[str] = []
    with (
        open_network() as network,
        tempfile.TemporaryDirectory() as name,
        connect_endpoint(network.device, config, lines.append) as session,
    ):
        folder = Path(name)
        for size in SIZES:
            (folder / str(size)).write_bytes(random.Random(size).randbytes(size))
        listeners = [session.endpoint.listen(Address(host, 80)) for host in ENDPOINT_ADDRESSES]
        server = Server(listeners, lambda socket, now_us: HttpConnection(socket, now_us, folder), lines.append)
        session.loop.applications.append(server)
        loop = threading.Thread(target=session.loop.run)
        loop.start()
        try:
            _warm_up(network)
            end_s = time.monotonic() + minutes * 60
            clients = [
                threading.Thread(target=_client, args=(network, folder, end_s, seed * 100 + index, results))
                for index in range(PARALLEL)
            ]
            for client in clients:
                client.start()
            samples = _watch(session, end_s, minutes)
            for client in clients:
                client.join()
        finally:
            session.loop.stop()
            loop.join()
    table = Table(
        "minute",
        "memory MiB",
        "connections",
        "payload KiB",
        title=f"{len(results)} transfers, {len(results) - results.count('')} failed",
    )
    for minute, memory, connections, payload in samples:
        table.add_row(f"{minute:.1f}", f"{memory:.1f}", str(connections), f"{payload / 1024:.0f}")
    Console().print(table)
    failed = [result for result in results if result]
    for line in [*lines[:10], *failed[:10]]:
        print(line)
    warm = samples[int(len(samples) * WARM_UP_SHARE)][1]
    growth = samples[-1][1] - warm
    print(f"memory since the warm-up: {growth:+.1f} MiB")
    return 1 if lines or failed or growth > MOST_GROWTH_MIB else 0
