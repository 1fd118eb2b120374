"""What the applications and their remote peers do, as data. Knows no organization and no machine."""

from dataclasses import dataclass, field

from netstack.errors import ConfigError
from netstack.sim.workload.distributions import DistributionConfig

HEADER_BYTES = 52  # IPv4 (20) and TCP (20) headers, time stamps option (12): RFC 791, RFC 9293, RFC 7323
CLOSES_FIRST = ("host", "client")
APPLICATIONS = ("writer", "server", "reader", "proxy")
FIRST_EPHEMERAL_PORT, EPHEMERAL_PORTS = 32768, 28233  # Linux, net.ipv4.ip_local_port_range: to 61,000
MAX_OUTSTANDING = 8


@dataclass
class RequestsConfig:
    """What clients ask of an application that is a `server`.

    Attributes:
        request_bytes: Payload of a request.
        response_bytes: Payload of its response.
        service_cycles: What the application computes for a request, beside the operation `app_service`.
        per_connection: Requests after which a connection is closed; null for connections that never end.
        outstanding: Requests of a connection that wait for their responses, at most.
        rate_per_second: Of all clients together, an open loop: each connection has intended starts by a Poisson process, and
            latency counts from them. Null is a closed loop: the next request follows a response by `workload.think_us`.
    """

    request_bytes: DistributionConfig = field(default_factory=lambda: DistributionConfig(mean=64))
    response_bytes: DistributionConfig = field(default_factory=lambda: DistributionConfig(mean=64))
    service_cycles: DistributionConfig = field(default_factory=DistributionConfig)
    per_connection: int | None = None
    outstanding: int = 1
    rate_per_second: float | None = None

    def validate(self) -> None:
        """Raise ConfigError for the first value that no client can have."""
        for name in ("request_bytes", "response_bytes", "service_cycles"):
            getattr(self, name).validate(f"workload.requests.{name}")
        for name in ("request_bytes", "response_bytes"):
            samples = getattr(self, name).samples()
            if not 1 <= samples[0] <= samples[-1] <= 1 << 26:
                given = f"{samples[0]} to {samples[-1]}"
                raise ConfigError(f"workload.requests.{name}", given, "must be from 1 to 67108864 bytes")
        if self.per_connection is not None and not 1 <= self.per_connection <= 1 << 30:
            raise ConfigError("workload.requests.per_connection", self.per_connection, "must be from 1 to 1073741824, or null")
        if not 1 <= self.outstanding <= MAX_OUTSTANDING:
            raise ConfigError("workload.requests.outstanding", self.outstanding, f"must be from 1 to {MAX_OUTSTANDING}")
        if self.rate_per_second is not None:
            if not 0 < self.rate_per_second <= 1e9:
                raise ConfigError("workload.requests.rate_per_second", self.rate_per_second, "must be above 0, or null")
            if self.outstanding != 1:
                raise ConfigError("workload.requests.outstanding", self.outstanding, "must be 1 with rate_per_second")


@dataclass
class LossConfig:
    """Segments that the network loses, beside those that full rings lose.

    A segment's number among all that its connection's record has had in that direction draws its fate, by the seed: it is the
    same in every organization.

    Attributes:
        to_host: Probability that a segment of a peer is lost.
        to_peers: Probability that a segment of the host is lost, after its frame has left.
    """

    to_host: float = 0.0
    to_peers: float = 0.0

    def validate(self) -> None:
        """Raise ConfigError for the first value that is no probability below 1."""
        for name in ("to_host", "to_peers"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"workload.loss.{name}", getattr(self, name), "must be from 0 to below 1")


@dataclass
class ReorderConfig:
    """Segments that the network delays, so that later ones may overtake them. Drawn as losses are.

    Attributes:
        to_host: Probability that a segment of a peer is late.
        to_peers: Probability that a segment of the host is late. Of a connection one at a time is.
        delay_us: By how much.
    """

    to_host: float = 0.0
    to_peers: float = 0.0
    delay_us: float = 100.0

    @property
    def any(self) -> bool:
        """Whether any segment is ever late."""
        return self.to_host > 0 or self.to_peers > 0

    def validate(self) -> None:
        """Raise ConfigError for the first value that is no probability below 1, or no delay."""
        for name in ("to_host", "to_peers"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"workload.reorder.{name}", getattr(self, name), "must be from 0 to below 1")
        if not 0 < self.delay_us <= 1_000_000:
            raise ConfigError("workload.reorder.delay_us", self.delay_us, "must be above 0 and at most 1000000")


@dataclass
class WorkloadConfig:
    """Event-driven application threads that are all a `writer`, a `server`, a `reader` or a `proxy`.

    A writer writes to its connections as long as there is room. A server reads requests and writes responses, see
    `RequestsConfig`. A reader reads what its peers send as long as windows allow. A proxy accepts a client's connection, reads
    its request, passes it on over a connection that it opens to one of `backends`, reads the response, which begins
    `backend_us` later, writes it to the client, and closes both.

    An application asks which connections are writable, and is told of `events_per_call` at most. A visit of a connection writes
    at most `write_bytes`, with `send_unit_bytes` per protocol request (a page, with zero-copy I/O). A connection becomes writable
    when `lowat_bytes` fit. `mbufs` bounds the pages and headers of all send buffers together: with many connections each buffer
    is smaller. A remote application reads all that has arrived `read_delay_us` after its first unread byte did. Until then, the
    window that its end announces is smaller by as much. Remote ends delay acknowledgments by `client_delayed_ack_us`, null for as
    long as the host does.

    With `bytes_per_connection` of 0, connections are open from the beginning and never end. Otherwise a remote client opens each
    one, gets that many bytes, and both ends close it. The end that `closes_first` (`host` or `client`) is then in TIME-WAIT for
    `time_wait_us`. The client opens the next connection `think_us` after the host has forgotten the last one and the client's
    end is done. Its next port follows the last one. With `client_addresses` so many computers share all clients, and a client
    uses the ports of its own part of the port numbers; null is an address per client. A lost SYN or SYN-ACK is repeated after
    `initial_rto_us`. A listening socket that has `backlog` complete connections which no application has accepted drops SYNs;
    null is no limit.
    """

    name: str = "bulk_send"
    application: str = "writer"
    requests: RequestsConfig = field(default_factory=RequestsConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    reorder: ReorderConfig = field(default_factory=ReorderConfig)
    threads_per_core: int = 1
    mtu_bytes: int = 1500
    send_buffer_bytes: int = 262144
    receive_buffer_bytes: int = 262144
    events_per_call: int = 64
    write_bytes: int = 4096
    send_unit_bytes: int = 4096
    lowat_bytes: int = 16384
    rtt_min_us: float = 80.0
    rtt_max_us: float = 240.0
    start_spread_us: float = 10000.0
    read_delay_us: float = 0.0
    delayed_ack_us: int = 100000
    client_delayed_ack_us: int | None = None
    min_rto_us: int = 230000
    mbufs: int = 1048576
    bytes_per_connection: int = 0
    think_us: float = 0.0
    closes_first: str = "host"
    time_wait_us: int = 0
    initial_rto_us: int = 1_000_000
    client_addresses: int | None = None
    backlog: int | None = None
    backends: int = 8
    backend_us: float = 0.0

    @property
    def mss_bytes(self) -> int:
        """Payload of a full segment: the MTU less IP and TCP headers with time stamps."""
        return self.mtu_bytes - HEADER_BYTES

    @property
    def legs(self) -> int:
        """How many connections a client needs: its own, and of a proxy one to a backend."""
        return 2 if self.application == "proxy" else 1

    @property
    def connections_end(self) -> bool:
        """Whether clients open connections one after the other, and each ends."""
        if self.application in ("server", "proxy"):
            return self.requests.per_connection is not None
        return self.bytes_per_connection > 0

    def validate(self) -> None:
        """Raise ConfigError for the first value that no workload can have."""
        if self.application not in APPLICATIONS:
            raise ConfigError("workload.application", self.application, f"allowed are {', '.join(APPLICATIONS)}")
        if self.application != "writer" and self.bytes_per_connection > 0:
            raise ConfigError("workload.bytes_per_connection", self.bytes_per_connection, "needs workload.application=writer")
        if self.application == "proxy":
            self._validate_proxy()
        self.requests.validate()
        self.loss.validate()
        self.reorder.validate()
        if self.closes_first not in CLOSES_FIRST:
            raise ConfigError("workload.closes_first", self.closes_first, f"allowed are {', '.join(CLOSES_FIRST)}")
        bounds = {
            "threads_per_core": (1, 64),
            "mtu_bytes": (256, 9000),
            "send_buffer_bytes": (4096, 1 << 26),
            "receive_buffer_bytes": (4096, 1 << 26),
            "events_per_call": (1, 1 << 20),
            "write_bytes": (1, 1 << 26),
            "send_unit_bytes": (256, 1 << 20),
            "lowat_bytes": (1, 1 << 26),
            "rtt_min_us": (1, 1_000_000),
            "rtt_max_us": (1, 1_000_000),
            "start_spread_us": (0, 10_000_000),
            "read_delay_us": (0, 1_000_000),
            "delayed_ack_us": (0, 500_000),
            "client_delayed_ack_us": (0, 500_000),
            "min_rto_us": (1000, 60_000_000),
            "mbufs": (1024, 1 << 27),
            "bytes_per_connection": (0, 1 << 30),
            "think_us": (0, 10_000_000),
            "time_wait_us": (0, 240_000_000),
            "initial_rto_us": (1000, 60_000_000),
            "client_addresses": (1, 1 << 16),
            "backlog": (1, 1 << 20),
            "backends": (1, 1 << 12),
            "backend_us": (0, 1_000_000),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(f"workload.{name}", value, f"must be from {low} to {high}")
        if self.rtt_max_us < self.rtt_min_us:
            raise ConfigError("workload.rtt_max_us", self.rtt_max_us, f"must be at least rtt_min_us={self.rtt_min_us:g}")
        if self.lowat_bytes > self.send_buffer_bytes:
            raise ConfigError("workload.lowat_bytes", self.lowat_bytes, "must fit in send_buffer_bytes")
        if self.lowat_bytes < self.send_unit_bytes:
            raise ConfigError("workload.lowat_bytes", self.lowat_bytes, "must be at least send_unit_bytes")
        if self.send_unit_bytes > self.write_bytes:
            raise ConfigError("workload.send_unit_bytes", self.send_unit_bytes, "must be at most write_bytes")

    def _validate_proxy(self) -> None:
        if self.requests.per_connection != 1:
            raise ConfigError(
                "workload.requests.per_connection", self.requests.per_connection, "must be 1 with workload.application=proxy"
            )
        if self.requests.outstanding != 1:
            raise ConfigError("workload.requests.outstanding", self.requests.outstanding, "must be 1 with a proxy")
        if self.closes_first != "host":
            raise ConfigError("workload.closes_first", self.closes_first, "must be host with workload.application=proxy")
