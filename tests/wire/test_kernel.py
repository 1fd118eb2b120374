"""The stack against the kernel's TCP and curl: files arrive whole through a network that loses, doubles, reorders and corrupts.

NETSTACK_WIRE_MIB is the size of the files of the bulk transfers, 16 if it is not set.
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netstack.host import Address
from netstack.wire.applications import Echo, Server
from netstack.wire.http.server import HttpConnection
from netstack.wire.impairment import ImpairmentSettings
from netstack.wire.namespace import ENDPOINT_ADDRESSES, KERNEL_ADDRESSES, Network
from netstack.wire.session import Session, SessionConfig, connect_endpoint
from tests.helpers.folders import ROOT

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")

MIB = 2**20
BULK_BYTES = int(os.environ.get("NETSTACK_WIRE_MIB", "16")) * MIB
TIMEOUT_S = 600
IMPAIRMENTS = {
    "none": ImpairmentSettings(),
    "loss": ImpairmentSettings(loss=0.05),
    "reorder": ImpairmentSettings(reorder=0.05),
    "duplicate": ImpairmentSettings(duplicate=0.02),
    "corrupt": ImpairmentSettings(corrupt=0.01),
    "delay": ImpairmentSettings(delay_us=50_000),
    "all": ImpairmentSettings(loss=0.05, reorder=0.05, duplicate=0.02, corrupt=0.01, delay_us=50_000),
}
WAYS = ["down", "up"]
SIZES_BYTES = {"all": MIB // 2}
"""5 % loss at a round trip of 100 ms leave some 80 KB/s to a connection (Mathis et al., 1997)."""


def content(size: int, seed: int = 1) -> bytes:
    generator = random.Random(seed)
    return b"".join(generator.randbytes(min(MIB, size - start)) for start in range(0, size, MIB))  # too much for one call


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def host_of(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@contextmanager
def running(network: Network, root: Path, impairments: ImpairmentSettings) -> Iterator[tuple[Session, Server]]:
    """Run an HTTP server at port 80 and an echo server at port 7 of the stack, in a thread."""
    config = SessionConfig(addresses=ENDPOINT_ADDRESSES, impairments=impairments)
    with connect_endpoint(network.device, config) as session:
        listeners = [session.endpoint.listen(Address(host, 80), backlog=128) for host in ENDPOINT_ADDRESSES]
        server = Server(listeners, lambda socket, now_us: HttpConnection(socket, now_us, root))
        echo = Server(
            [session.endpoint.listen(Address(ENDPOINT_ADDRESSES[0], 7), backlog=8)], lambda socket, now_us: Echo(socket)
        )
        session.loop.applications += [server, echo]
        failures: list[BaseException] = []

        def run() -> None:
            try:
                session.loop.run()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield session, server
        finally:
            session.loop.stop()
            thread.join()
        assert failures == []


def curl(network: Network, *arguments: str) -> str:
    command = network.command("curl", "--silent", "--show-error", "--fail", "--max-time", str(TIMEOUT_S), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S + 10, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def transfer(way: str, source: Path, target: Path, number: str = "") -> list[str]:
    """Return the arguments by which curl gets a file of the stack, or puts one there; `number` ends both names."""
    url = f"http://{ENDPOINT_ADDRESSES[0]}"
    if way == "down":
        return ["-o", f"{target}{number}", f"{url}/{source.name}{number}"]
    return ["-T", f"{source}{number}", f"{url}/{target.name}{number}"]


@pytest.mark.parametrize("name", IMPAIRMENTS)
@pytest.mark.parametrize("way", WAYS)
def test_curl_transfers_a_file(network: Network, tmp_path: Path, way: str, name: str) -> None:
    source, target = tmp_path / "file", tmp_path / "copy"
    source.write_bytes(content(SIZES_BYTES.get(name, BULK_BYTES)))
    with running(network, tmp_path, IMPAIRMENTS[name]):
        curl(network, *transfer(way, source, target))
    assert digest(target) == digest(source)


def test_both_directions_by_ip_version_6(network: Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content(MIB))
    url = f"http://{host_of(ENDPOINT_ADDRESSES[1])}"
    with running(network, tmp_path, IMPAIRMENTS["loss"]):
        curl(network, "-o", str(tmp_path / "down"), f"{url}/file")
        curl(network, "-T", str(tmp_path / "file"), f"{url}/up")
    assert digest(tmp_path / "down") == digest(tmp_path / "up") == digest(tmp_path / "file")


@pytest.mark.parametrize("way", WAYS)
def test_many_connections_at_a_time(network: Network, tmp_path: Path, way: str) -> None:
    """Twice as many as the backlog of the listener: others get cookies."""
    count, size = 256, 50_000
    source, target = tmp_path / "file", tmp_path / "copy"
    for number in range(count):
        Path(f"{source}{number}").write_bytes(content(size, number))
    transfers = [argument for number in range(count) for argument in transfer(way, source, target, str(number))]
    with running(network, tmp_path, IMPAIRMENTS["delay"]) as (_, server):
        curl(network, "--parallel", "--parallel-immediate", "--parallel-max", str(count), *transfers)
        assert server.accepted == count
        assert server.failed == 0
    for number in range(count):
        assert digest(Path(f"{target}{number}")) == digest(Path(f"{source}{number}"))


def test_a_connection_is_kept_for_several_requests(network: Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content(1000))
    url = f"http://{ENDPOINT_ADDRESSES[0]}/file"
    with running(network, tmp_path, IMPAIRMENTS["none"]) as (_, server):
        assert curl(network, "-o", "/dev/null", "-o", "/dev/null", "-w", "%{http_code} ", url, url) == "200 200 "
        assert curl(network, "-r", "10-19", url, "-o", "/dev/null", "-w", "%{http_code} %{size_download}") == "206 10"
        assert server.accepted == 2


def test_a_port_without_a_listener_refuses(network: Network, tmp_path: Path) -> None:
    with running(network, tmp_path, IMPAIRMENTS["none"]):
        done = subprocess.run(
            network.command("curl", "-sS", f"http://{ENDPOINT_ADDRESSES[0]}:81/"), capture_output=True, check=False
        )
    assert done.returncode == 7  # failed to connect


ECHO_CLIENT = """
import socket, sys, threading
data = bytes(range(256)) * 2000
with socket.create_connection((sys.argv[1], 7), timeout=60) as connection:
    sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
    sender.start()
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    sender.join()
print(answer == data)
"""


def test_echo_keeps_the_half_closed_connection_open(network: Network, tmp_path: Path) -> None:
    with running(network, tmp_path, IMPAIRMENTS["none"]):
        output, errors = network.popen(sys.executable, "-c", ECHO_CLIENT, ENDPOINT_ADDRESSES[0]).communicate(timeout=60)
    assert (output, errors) == ("True\n", "")


def wire(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "netstack.wire", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


@contextmanager
def kernel_server(network: Network, folder: Path, address: str) -> Iterator[str]:
    """Run the standard library's server in the namespace; return its URL."""
    program = str(ROOT / "tests/helpers/upload_server.py")
    with network.popen(sys.executable, program, address, "8000", str(folder)) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield f"http://{host_of(address)}:8000"
        finally:
            process.kill()


@pytest.mark.parametrize("address", KERNEL_ADDRESSES)
def test_the_commands_get_and_put(network: Network, tmp_path: Path, address: str) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    (tmp_path / "file").write_bytes(content(MIB))
    network.device.close()  # the command makes its own
    options = ["--device", "nstk%d", "--namespace", network.namespace, "--loss", "1%"]
    with kernel_server(network, folder, "::") as url:
        url = url.replace("[::]", host_of(address))
        put = wire("put", str(tmp_path / "file"), f"{url}/new", *options)
        get = wire("get", f"{url}/new", "-o", str(tmp_path / "copy"), "--pcap", str(tmp_path / "trace.pcap"), *options)
        missing = wire("get", f"{url}/missing", "-o", str(tmp_path / "missing"), *options)
    assert (put.returncode, get.returncode) == (0, 0), put.stderr + get.stderr
    assert digest(folder / "new") == digest(tmp_path / "copy") == digest(tmp_path / "file")
    assert "1,048,576 bytes in" in get.stderr
    assert (tmp_path / "trace.pcap").stat().st_size > MIB
    assert (missing.returncode, missing.stderr) == (1, f"error: {url}/missing: the server answers 404 File not found\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "file", "served", "trace.pcap"]


def test_a_refused_connection_is_said(network: Network) -> None:
    network.device.close()
    done = wire("get", "http://10.99.0.1:8000/x", "-o", "/dev/null", "--device", "nstk%d", "--namespace", network.namespace)
    assert (done.returncode, done.stderr) == (1, "error: http://10.99.0.1:8000/x: Connection refused\n")


def test_the_command_serve_and_its_end(network: Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content(MIB))
    network.device.close()
    command = [
        sys.executable,
        "-m",
        "netstack.wire",
        "serve",
        str(tmp_path),
        "--device",
        "nstk%d",
        "--namespace",
        network.namespace,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serve on http://10.99.0.2/, http://[fd99::2]/ (device nstk")
        curl(network, "-o", str(tmp_path / "copy"), f"http://{ENDPOINT_ADDRESSES[0]}/file")
        process.terminate()
        output, errors = process.communicate(timeout=30)
    assert output == "GET /file 200 1048576 bytes\n1 connections, 0 of them failed\n"
    assert (process.returncode, errors) == (130, "")
    assert digest(tmp_path / "copy") == digest(tmp_path / "file")
