"""The settings of an endpoint: what its connections offer and how long they wait. Knows no connection."""

from dataclasses import dataclass

from netstack.host.ip import is_unicast, packed


@dataclass(frozen=True)
class Address:
    """An IP address, as text, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass
class EndpointConfig:
    """What a host offers and how long it waits; a connection takes the values of the moment when it is opened."""

    addresses: tuple[str, ...] = ("10.0.0.2",)
    """The host's own, of both IP versions. Packets to others are dropped."""
    mtu_bytes: int = 1500
    seed: int | None = None
    """Of all that attackers must not guess: sequence numbers, ports, time stamps. None draws it from the system."""
    timestamps: bool = True
    """RFC 7323, in ms."""
    window_scaling: bool = True
    sack: bool = True
    """RFC 2018, and recovery by RFC 6675 or `rack`."""
    rack: bool = True
    """RACK (RFC 8985): losses are found by time. Needs SACK; without SACK they are found by duplicates, with it by RFC 6675."""
    loss_probes: str = "always"
    """When no ACK comes, a segment asks for one before the timeout. `tail`: TLP (RFC 8985); `always`: also in a recovery, and a
    second time (after RFC 9002, section 6.2); `never`. Needs RACK."""
    dsack: bool = True
    """RFC 2883: tell the peer what came twice. Needs SACK."""
    ecn: int = 2
    """RFC 3168. 0: never; 1: ask for it and grant it; 2: grant it."""
    congestion_control: str = "cubic"
    """`cubic` (RFC 9438) or `reno` (RFC 6582, or RFC 6675 with SACK)."""
    initial_window_segments: int = 10
    """RFC 6928; 0 is RFC 3390."""
    slow_start_after_idle: bool = True
    """RFC 2861: the congestion window shrinks while it is not used. Without a record of transmissions (`sack` without `rack`) it
    is the initial one after a pause (RFC 5681, section 4.1)."""
    duplicate_ack_threshold: int = 3
    """RFC 5681, section 3.2: duplicates that show a loss, as long as no reordering was seen."""
    receive_buffer_bytes: int = 524288
    receive_buffer_limit_bytes: int = 0
    """From which the window scale follows; 0 is the receive buffer."""
    send_buffer_bytes: int = 524288
    syn_retries: int = 7
    """With the pauses of RFC 6298 more than the three minutes of RFC 9293, section 3.8.3."""
    synack_retries: int = 5
    data_retries: int = 15
    connect_timeout_us: int = 0
    """0: only `syn_retries` ends an attempt."""
    initial_rto_us: int = 1_000_000
    """RFC 6298, section 2.1."""
    minimum_rto_us: int = 200_000
    """Below the second of RFC 6298, section 2.4, as other stacks do."""
    delayed_ack: bool = True
    delayed_ack_us: int = 40_000
    """RFC 9293, section 3.8.6.3: at most 500 ms."""
    quick_acks: int = 16
    """How many of a connection's first segments of data are acknowledged at once, as Linux does: the peer's window is small then.
    It ends with the first answer that is sent. Platforms have their own rule."""
    keepalive_idle_us: int = 7200 * 1_000_000
    """RFC 9293, section 3.8.4: two hours, for sockets that ask for it."""
    keepalive_interval_us: int = 75 * 1_000_000
    keepalive_probes: int = 9
    user_timeout_us: int = 0
    """RFC 5482; 0: none."""
    fin_wait_2_us: int = 60 * 1_000_000
    """How long a peer may leave half open what our application closed."""
    maximum_segment_lifetime_us: int = 30 * 1_000_000
    """TIME-WAIT takes twice as long."""
    syn_cookies: bool = True
    """When the queue of half-open connections is full (RFC 4987, section 3.6)."""
    default_mss_bytes: int = 536
    """Of a peer that names none."""
    platform: str = "any"
    """Whose choices hold where the RFCs leave several: `linux`, `freebsd`, or `any` for what they recommend."""
    rto_slop_us: int = 0
    """A constant part of each retransmission timeout."""
    broadcast_addresses: tuple[str, ...] = ()
    """Of the networks that the host is in: nothing from there is answered (RFC 1122, section 3.2.1.3). They follow from the
    length of a prefix, which the command knows, and a host's addresses do not have."""
    maximum_connections: int = 32768
    """In any state, with 14 kB each beside their payload. SYNs for more are dropped, and so is the host's own `connect`."""
    maximum_connections_of_peer: int = 16384
    """With one address at the other end."""
    memory_limit_bytes: int = 512 * 1024 * 1024
    """Of the payload that all connections hold, beyond 8 KiB each; one address gets half of it. 0: no limit. Where it is reached,
    connections go on with small buffers: less is taken from the application, and the end of segments is dropped."""
    maximum_orphans: int = 8192
    """Connections that the application has closed (RFC 6429). For more, the oldest one is dropped, first in TIME-WAIT."""
    orphan_timeout_us: int = 120 * 1_000_000
    """How long a peer may acknowledge nothing new of what a closed connection has to send, its window shut or not."""
    orphan_life_us: int = 900 * 1_000_000
    """How long all of that may take."""
    half_open_life_us: int = 75 * 1_000_000
    """How long a peer has for the handshake, however often it repeats its SYN: a little more than `synack_retries` take."""


PLATFORMS = ("any", "linux", "freebsd")
MINIMUM_MTU_BYTES = 68  # RFC 791
BUFFER_BYTES = (256, 1 << 29)
BOUNDS = {
    "mtu_bytes": (MINIMUM_MTU_BYTES, 65535),
    "duplicate_ack_threshold": (1, 255),
    "receive_buffer_bytes": BUFFER_BYTES,
    "send_buffer_bytes": BUFFER_BYTES,
    "initial_window_segments": (0, 65535),
    "default_mss_bytes": (0, 65535),
    "initial_rto_us": (0, (1 << 31) - 1),
    "minimum_rto_us": (0, (1 << 31) - 1),
}
"""The least and the largest value of settings, as far as a control block has room for them."""


def check(config: EndpointConfig) -> None:
    """Raise ValueError for the first value that cannot be used."""
    if not config.addresses:
        raise ValueError("addresses: at least one is needed")
    for host in config.addresses:
        if not is_unicast(packed(host)):
            raise ValueError(f"addresses: {host} is not the address of a single host")
    for name in ("maximum_connections", "maximum_connections_of_peer", "maximum_orphans", "orphan_timeout_us"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}={getattr(config, name)}: must be at least 1")
    for name, (least, most) in BOUNDS.items():
        if not least <= getattr(config, name) <= most:
            raise ValueError(f"{name}={getattr(config, name)}: must be from {least} to {most}")
    if config.congestion_control not in ("cubic", "reno"):
        raise ValueError(f"congestion_control={config.congestion_control}: allowed are cubic, reno")
    if config.platform not in PLATFORMS:
        raise ValueError(f"platform={config.platform}: allowed are {', '.join(PLATFORMS)}")
    if config.loss_probes not in ("always", "tail", "never"):
        raise ValueError(f"loss_probes={config.loss_probes}: allowed are always, tail, never")
