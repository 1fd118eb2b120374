"""What hostile peers cost the HTTP server, and whether honest clients lose anything meanwhile.

Run from the repository root, so that its packages are found:

    python -m benchmarks.hostile
    python -m benchmarks.hostile --only mutants --segments 10000000 --state progress.json
    sudo python -m benchmarks.hostile --soak 30

Server, attackers and fifty honest clients are in one process, without a network, on a clock of their own. The time of a turn is
the processor time of the server's side alone. The soak is on a TUN device, with curl and a network that loses packets.
"""

import argparse
import gc
import json
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.hostile_peers import SERVER, SERVER_PORT, Attack, Fragments, Idle, Mutants, Slowloris, Sockstress, Syns
from benchmarks.soak import soak
from netstack.host import Address, Endpoint, EndpointConfig, Socket
from netstack.wire.applications import Server
from netstack.wire.http.server import HttpConnection

CLIENTS = "10.0.0.3"
BULK_BYTES, PAGE_BYTES = 300_000, 3000
PAUSE_TURNS = 100
WIDTH = 120
HOUR_US = 3600 * 1_000_000
PACKETS_PER_TURN = 64
CHUNK = 20_000
"""Segments after which the progress is written."""


@dataclass
class Row:
    """What one attack did."""

    segments: int = 0
    opened: int = 0
    turns: int = 0
    busy_s: float = 0.0
    worst_s: float = 0.0
    memory_mib: float = 0.0
    payload_mib: float = 0.0
    requests: int = 0
    failed: int = 0
    faults: list[str] = field(default_factory=list)
    left: int = 0
    """Connections an hour later."""


def resident_mib() -> float:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


class Client:
    """An honest client: it asks for a page again and again on its connection, with pauses, and looks at what comes."""

    def __init__(self, endpoint: Endpoint, page: bytes, number: int, now_us: int) -> None:
        self.served = self.failed = 0
        self._pause = number % PAUSE_TURNS
        self._endpoint = endpoint
        self._page = page
        self._received = b""
        self._asked = False
        self._socket = self._connect(now_us)

    def _connect(self, now_us: int) -> Socket:
        self._received, self._asked = b"", False
        return self._endpoint.connect(Address(str(IPv4Address(SERVER)), SERVER_PORT), now_us, options={"no_delay": 1})

    def step(self, now_us: int) -> None:
        if self._pause > 0:
            self._pause -= 1
            return
        socket = self._socket
        try:
            if socket.error is not None or socket.at_eof:
                raise ConnectionError
            if not self._asked and socket.writable:
                self._asked = socket.send(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n", now_us) > 0
            if socket.readable:
                self._received += socket.receive(1 << 20, now_us)
        except OSError:
            self.failed += 1
            socket.abort(now_us)
            self._socket = self._connect(now_us)
            return
        head, _, body = self._received.partition(b"\r\n\r\n")
        if self._asked and len(body) >= len(self._page):
            self.served += 1
            self.failed += body != self._page or not head.startswith(b"HTTP/1.1 200 ")
            self._received, self._asked = b"", False
            self._pause = PAUSE_TURNS


class Network:
    """A server, its honest clients and an attack, on one clock."""

    def __init__(self, root: Path, clients: int, row: Row) -> None:
        self.now_us = 1_000_000
        self.row = row
        self.measures = False
        self.endpoint = Endpoint(EndpointConfig(addresses=(str(IPv4Address(SERVER)),), seed=1))
        listener = self.endpoint.listen(Address(str(IPv4Address(SERVER)), SERVER_PORT), backlog=1024)
        listener.set_option("no_delay", 1, 0)
        self.server = Server([listener], lambda socket, now_us: HttpConnection(socket, now_us, root), self._fault)
        self.others = Endpoint(EndpointConfig(addresses=(CLIENTS,), seed=2))
        self.clients = [Client(self.others, (root / "page").read_bytes(), number, self.now_us) for number in range(clients)]
        self._address = IPv4Address(CLIENTS).packed
        self._queue: deque[bytes] = deque()

    def _fault(self, line: str) -> None:
        self.row.faults.append(line)

    def turn(self, attack: Attack | None, step_us: int) -> None:
        """Let all do what they can do now."""
        row = self.row
        self.now_us += step_us
        packets = [] if attack is None else attack.packets(self.now_us)
        row.segments += len(packets)
        if self.clients:
            self.others.run_timers(self.now_us)
            for client in self.clients:
                client.step(self.now_us)
            self._queue += self.others.take_packets(self.now_us)
            room = PACKETS_PER_TURN - len(packets)
            packets += [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
        for answer in self._serve(packets):
            if answer[16:20] == self._address:
                self.others.receive(answer, self.now_us)
            elif attack is not None:
                attack.receive(answer, self.now_us)

    def _serve(self, packets: list[bytes]) -> list[bytes]:
        """Run a turn of the server, as the event loop does, and measure it."""
        endpoint, now_us = self.endpoint, self.now_us
        begin = time.process_time_ns()
        for packet in packets:
            try:
                endpoint.receive(packet, now_us)
            except Exception as error:
                self._fault(f"{type(error).__name__}: {error} by {packet.hex()}")
        deadline_us = endpoint.next_deadline_us()
        if deadline_us is not None and deadline_us <= now_us:
            endpoint.run_timers(now_us)
        self.server.step(now_us)
        self.server.next_deadline_us()
        answers = endpoint.take_packets(now_us)
        seconds = (time.process_time_ns() - begin) * 1e-9
        if self.measures:
            self.row.turns += 1
            self.row.busy_s += seconds
            self.row.worst_s = max(self.row.worst_s, seconds)
        return answers

    def finish(self) -> None:
        """Let the clients go, and an hour pass."""
        self.row.requests += sum(client.served for client in self.clients)
        self.row.failed += sum(client.failed for client in self.clients)
        self.clients = []
        self.measures = False
        end_us = self.now_us + HOUR_US
        while self.now_us < end_us:
            deadlines = (self.endpoint.next_deadline_us(), self.server.next_deadline_us())
            next_us = min((deadline for deadline in deadlines if deadline is not None), default=end_us)
            self.turn(None, max(min(next_us, end_us) - self.now_us, 1))
        self.row.left += len(self.endpoint.connections) + len(self.server.connections)


def run(attack: Attack, root: Path, clients: int, row: Row) -> None:
    """Attack a new server, and add to the row."""
    network = Network(root, clients, row)
    for _ in range(200):
        network.turn(None, 1000)
    turns = 0
    gc.collect()
    before_mib = resident_mib()
    while not attack.done:
        network.measures = attack.begun
        network.turn(attack, attack.step_us)
        turns += 1
        if turns % 64 == 0:
            row.memory_mib = max(row.memory_mib, resident_mib() - before_mib)
            row.payload_mib = max(row.payload_mib, network.endpoint.payload_bytes / 2**20)
    row.opened += attack.opened
    network.finish()


def run_mutants(segments: int, seed: int, root: Path, clients: int, state: Path | None, row: Row) -> None:
    """Attack with changed sessions, in chunks, from where the state says that an earlier run was."""
    if state is not None and state.exists():
        saved = json.loads(state.read_text())
        if saved.pop("seed") != seed:
            raise ValueError(f"{state} is of another seed")
        row.__dict__.update(saved)
    while row.segments < segments and not row.faults:
        run(Mutants(min(CHUNK, segments - row.segments), seed * 1_000_003 + row.segments), root, clients, row)
        if state is not None:
            state.write_text(json.dumps(asdict(row) | {"seed": seed}))


def attacks(arguments: argparse.Namespace) -> dict[str, Callable[[], Attack]]:
    """Return the attacks beside that of the mutants."""
    scale = arguments.scale
    return {
        "idle": lambda: Idle(int(16_000 * scale)),
        "syns": lambda: Syns(int(100_000 * scale), arguments.seed),
        "slowloris": lambda: Slowloris(int(2000 * scale)),
        "sockstress": lambda: Sockstress(int(2000 * scale)),
        "fragments": lambda: Fragments(int(100_000 * scale), arguments.seed),
    }


def measure(name: str, arguments: argparse.Namespace) -> Row:
    """Run one attack."""
    row = Row()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "bulk").write_bytes(random.Random(1).randbytes(BULK_BYTES))
        (root / "page").write_bytes(random.Random(2).randbytes(PAGE_BYTES))
        run(Idle(10, turns=10), root, 1, Row())  # compiles
        if name == "mutants":
            run_mutants(arguments.segments, arguments.seed, root, arguments.clients, arguments.state, row)
        else:
            run(attacks(arguments)[name](), root, arguments.clients, row)
    return row


def table_of(rows: dict[str, Row]) -> Table:
    """Return what is printed."""
    table = Table(
        *("attack", "segments", "opened", "memory MiB", "payload MiB", "turn us", "worst ms", "requests", "failed", "faults"),
        "left",
        title="Hostile peers and honest clients",
    )
    for name, row in rows.items():
        table.add_row(
            *(name, f"{row.segments:,}", f"{row.opened:,}", f"{row.memory_mib:.0f}", f"{row.payload_mib:.1f}"),
            *(f"{row.busy_s / max(row.turns, 1) * 1e6:.0f}", f"{row.worst_s * 1e3:.1f}", f"{row.requests:,}"),
            *(str(row.failed), str(len(row.faults)), str(row.left)),
        )
    return table


def main() -> int:
    """Print the table; return 1 if something was lost or left, 2 if nothing can be measured."""
    names = ["idle", "syns", "slowloris", "sockstress", "fragments", "mutants"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", choices=names, action="append", help="one attack; may be repeated; default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of connections and packets; default: 1")
    parser.add_argument("--clients", type=int, default=50, help="honest ones; default: 50")
    parser.add_argument("--segments", type=int, default=200_000, help="of the mutants; default: 200000")
    parser.add_argument("--seed", type=int, default=1, help="of what is random; default: 1")
    parser.add_argument("--state", type=Path, help="file with the progress of the mutants, to go on from")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="instead: curl on a TUN device for so long (needs root)")
    arguments = parser.parse_args()
    if arguments.soak is not None:
        return soak(arguments.soak, arguments.seed)
    rows: dict[str, Row] = {}
    try:
        for name in arguments.only or names:
            with ProcessPoolExecutor(1, get_context("spawn")) as process:  # one of its own, for the memory
                rows[name] = process.submit(measure, name, arguments).result()
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    Console(width=WIDTH).print(table_of(rows))
    for name, row in rows.items():
        for line in row.faults[:10]:
            print(f"{name}: {line}")
    return 1 if any(row.faults or row.failed or row.left for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
